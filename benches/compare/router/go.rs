//! The Go pool (`pool.go`) as a separate process. It runs the same exchange and measures itself. It waits for its next
//! command meanwhile, so it takes no processor time while another side is measured.

use super::side::Threads;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct GoPool {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl GoPool {
    /// # Errors
    /// The reason why it cannot be started.
    pub fn start(
        names: &[String],
        messages: &[Vec<u8>],
        threads: Threads,
        fan: usize,
    ) -> Result<Self, String> {
        let program = crate::built("pool");
        // The host and the workers are goroutines on this many threads. 0: what Go does by itself.
        let (workers, threads) = match threads {
            Threads::One => (1, 1),
            Threads::Workers(count, _) => (count, count + 1),
            Threads::Default => (0, 0),
        };
        let mut child = Command::new(&program)
            .args([workers, threads, fan].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the Go pool ({}) does not start: {error}", program.display()))?;
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut pool = Self { child, commands, answers: BufReader::new(answers) };
        for name in names {
            pool.tell(&format!("name {name}"));
        }
        for message in messages {
            pool.tell(&format!("message {}", std::str::from_utf8(message).unwrap()));
        }
        Ok(pool)
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the Go pool runs");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the Go pool answers");
        assert!(!line.is_empty(), "the Go pool has ended");
        line.trim_end().to_owned()
    }

    /// Nanoseconds per delivery.
    pub fn exchange(&mut self, count: usize) -> f64 {
        self.tell(&format!("exchange {count}"));
        self.answer().parse().expect("a number")
    }

    /// As `side::outcome`.
    pub fn outcome(&mut self) -> Vec<(usize, String)> {
        self.tell("outcome");
        let count: usize = self.answer().parse().expect("a number");
        let mut received: Vec<_> = (0..count)
            .map(|_| {
                let line = self.answer();
                let (to, message) = line.split_once(' ').expect("recipient and message");
                let message: serde_json::Value = serde_json::from_str(message).expect("JSON");
                (to.parse().expect("a recipient"), message.to_string())
            })
            .collect();
        received.sort();
        received
    }
}

impl Drop for GoPool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
