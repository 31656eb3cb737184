//! NATS servers of a test: with JetStream, free ports, and a folder under the test's own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program, if there is one.
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all =
        named.into_iter().chain(std::env::split_paths(&path).map(|folder| folder.join("nats-server")));
    let found = all.find(|one| one.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CORELANE_REQUIRE_ALL").is_none(), "no nats-server: make deps installs it");
        eprintln!("skipped: no nats-server; go install github.com/nats-io/nats-server/v2@v2.15.3");
    }
    found
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One server. Its process ends with it.
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
    folder: PathBuf,
}

impl Server {
    /// Starts a server of its own. None: there is no program.
    pub fn start(test: &str) -> Option<Self> {
        let program = program()?;
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("nats-{test}-{}", std::process::id()));
        let mut server = Self::new(program, folder, free_port(), Vec::new());
        server.run();
        Some(server)
    }

    /// Starts a server of its own with a configuration, which may name files in the folder that it is given.
    pub fn start_with(test: &str, config: impl FnOnce(&Path) -> String) -> Option<Self> {
        let program = program()?;
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("nats-{test}-{}", std::process::id()));
        let mut server = Self::new(program, folder, free_port(), Vec::new());
        let file = server.folder.join("config");
        std::fs::write(&file, config(&server.folder)).unwrap();
        server.arguments.extend(["-c".to_owned(), file.display().to_string()]);
        server.run();
        Some(server)
    }

    /// The folder, which ends with the server.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a cluster of three servers.
    pub fn start_three(test: &str) -> Option<Vec<Self>> {
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        Self::start_behind(test, &routes, &routes)
    }

    /// Starts a cluster of three servers that listen for routes at `routes`, and that reach each other at `doors`.
    pub fn start_behind(test: &str, routes: &[u16], doors: &[u16]) -> Option<Vec<Self>> {
        let program = program()?;
        let all: Vec<String> = doors.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let mut servers: Vec<Self> = (0..3)
            .map(|number| {
                let name = format!("nats-{test}-{number}-{}", std::process::id());
                let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
                let more = vec![
                    "--cluster_name".to_owned(),
                    "test".to_owned(),
                    "--cluster".to_owned(),
                    format!("nats://127.0.0.1:{}", routes[number]),
                    "--routes".to_owned(),
                    all.join(","),
                    "--cluster_advertise".to_owned(),
                    format!("127.0.0.1:{}", doors[number]),
                    "--name".to_owned(),
                    format!("s{number}"),
                ];
                Self::new(program.clone(), folder, free_port(), more)
            })
            .collect();
        servers.iter_mut().for_each(Self::run);
        Some(servers)
    }

    fn new(program: PathBuf, folder: PathBuf, port: u16, more: Vec<String>) -> Self {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut arguments = vec![
            "-a".to_owned(),
            "127.0.0.1".to_owned(),
            "-p".to_owned(),
            port.to_string(),
            "-js".to_owned(),
            "-sd".to_owned(),
            folder.display().to_string(),
        ];
        arguments.extend(more);
        Self { program, arguments, port, child: None, folder }
    }

    /// Starts the process, also again.
    pub fn run(&mut self) {
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "nats-server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Ends the process without a warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops the process, and lets it go on.
    pub fn pause(&self, is_paused: bool) {
        let id = self.id().to_string();
        let signal = if is_paused { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Deletes what the server has stored. It must not run.
    pub fn forget(&self) {
        assert!(self.child.is_none());
        let _ = std::fs::remove_dir_all(self.folder.join("jetstream"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
