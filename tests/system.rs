//! The figures of the system, rows S1 to S3: each figure changes by what the test itself causes, or matches another
//! source of the kernel. Each case runs in a separate process, so that threads, files and memory of other tests are
//! not counted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use corelane::monitor::{SystemInputs, SystemProbe, SystemStats};
use std::fs::File;
use std::process::Command;
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

const CHILD: &str = "CORELANE_SYSTEM_CHILD";
const MIB: u64 = 1 << 20;

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Runs a case in a separate process. The case gets the time when that process was started, as seen by the parent.
fn alone(name: &str, case: impl FnOnce(u64)) {
    let child = std::env::var(CHILD).ok();
    if let Some((test, started)) = child.as_deref().and_then(|child| child.split_once(' ')) {
        if test == name {
            case(started.parse().unwrap());
            println!("system: {name} has run");
            std::process::exit(0);
        }
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{name} {}", unix_seconds()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ran = text.contains("system: ");
    assert!(output.status.success() && ran, "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn look(probe: &mut SystemProbe) -> SystemStats {
    probe.look(&SystemInputs::default())
}

/// A line `Name:  123 kB` of a file, in bytes.
fn kernel_bytes(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn memory_that_is_taken_and_given_back_is_seen() {
    alone("memory_that_is_taken_and_given_back_is_seen", |_| {
        let mut probe = SystemProbe::new().unwrap();
        let before = look(&mut probe).memory;
        let block = std::hint::black_box(vec![1u8; 64 * MIB as usize]);
        let with = look(&mut probe).memory;
        assert!(block.iter().all(|byte| *byte == 1));
        drop(block);
        let after = look(&mut probe).memory;
        let resident = [before.resident_bytes, with.resident_bytes, after.resident_bytes].map(Option::unwrap);
        assert!(
            resident[1] >= resident[0] + 60 * MIB && resident[2] + 60 * MIB <= resident[1],
            "{resident:?}"
        );
        let mapped = [before.virtual_bytes, with.virtual_bytes, after.virtual_bytes].map(Option::unwrap);
        assert!(mapped[1] >= mapped[0] + 64 * MIB && mapped[2] + 64 * MIB <= mapped[1], "{mapped:?}");
        let heap = [before.heap_bytes, with.heap_bytes, after.heap_bytes];
        if cfg!(target_env = "gnu") {
            let heap = heap.map(Option::unwrap);
            // Apart from the block only the reads themselves have allocated or freed memory, a few KiB.
            assert!(heap[1] + MIB >= heap[0] + 64 * MIB && heap[2] + 63 * MIB <= heap[1], "{heap:?}");
        } else {
            assert_eq!(heap, [None; 3]);
        }
    });
}

#[test]
fn many_small_pieces_are_in_the_heap_too() {
    alone("many_small_pieces_are_in_the_heap_too", |_| {
        if cfg!(target_env = "gnu") {
            let mut probe = SystemProbe::new().unwrap();
            let before = look(&mut probe).memory.heap_bytes.unwrap();
            let pieces: Vec<Box<[u8; 1000]>> = (0..10_000).map(|_| Box::new([7; 1000])).collect();
            let with = look(&mut probe).memory.heap_bytes.unwrap();
            // 1,008 bytes each with the allocator's overhead, and the list itself.
            assert!((before + 10_080_000..before + 11 * MIB).contains(&with), "{before} {with}");
            drop(pieces);
            let after = look(&mut probe).memory.heap_bytes.unwrap();
            // A thread keeps a few freed pieces for itself.
            assert!(after + 10_000_000 <= with, "{with} {after}");
        }
    });
}

#[test]
fn the_machines_memory_agrees_with_the_kernels_file() {
    alone("the_machines_memory_agrees_with_the_kernels_file", |_| {
        let mut probe = SystemProbe::new().unwrap();
        let available = || kernel_bytes("/proc/meminfo", "MemAvailable");
        let (before, memory, after) = (available(), look(&mut probe).memory, available());
        let total = memory.system_total_bytes.unwrap();
        assert_eq!(total, kernel_bytes("/proc/meminfo", "MemTotal"));
        let seen = memory.system_available_bytes.unwrap();
        // Other processes allocate and free memory meanwhile.
        let around = before.min(after).saturating_sub(512 * MIB)..=before.max(after) + 512 * MIB;
        assert!(around.contains(&seen), "{seen} {around:?}");
        assert_eq!(memory.system_used_bytes, Some(total - seen));
        assert!(memory.limit_bytes.is_none_or(|limit| limit <= total));
        assert_eq!(memory.limit_bytes.is_some(), memory.limit_free_bytes.is_some());
    });
}

#[test]
fn each_open_file_is_counted_once() {
    alone("each_open_file_is_counted_once", |_| {
        let mut probe = SystemProbe::new().unwrap();
        let open = |probe: &mut SystemProbe| look(probe).process.open_descriptors.unwrap();
        // Reading the folder takes one descriptor itself.
        let listed = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
        assert_eq!(open(&mut probe), listed);
        let files: Vec<File> = (0..37).map(|_| File::open("/dev/null").unwrap()).collect();
        assert_eq!(open(&mut probe), listed + 37);
        drop(files);
        assert_eq!(open(&mut probe), listed);
    });
}

#[test]
fn a_process_without_a_descriptor_left_shows_no_old_figures() {
    alone("a_process_without_a_descriptor_left_shows_no_old_figures", |_| {
        let mut probe = SystemProbe::new().unwrap();
        assert!(look(&mut probe).memory.resident_bytes.is_some());
        let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
        rlimit::Resource::NOFILE.set(64, hard).unwrap();
        // Inherited descriptors above the limit stay open.
        let numbers = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
        let above =
            numbers.filter(|name| name.to_str().unwrap().parse::<u64>().unwrap() >= 64).count() as u64;
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        let stats = look(&mut probe);
        assert_eq!(stats.process.descriptor_limit, Some(64));
        // Before Linux 6.2 the descriptors cannot be counted in that case.
        assert!([Some(64 + above), None].contains(&stats.process.open_descriptors), "{:?}", stats.process);
        let memory = &stats.memory;
        assert_eq!(
            (memory.resident_bytes, memory.system_total_bytes, memory.limit_bytes),
            (None, None, None)
        );
        assert_eq!((stats.process.threads, stats.process.started_seconds), (None, None));
        let cpu = &stats.cpu;
        assert_eq!((cpu.cores, cpu.cores_allowed, cpu.process_share), (None, None, None));
        assert_eq!((&cpu.core_shares, cpu.load_average), (&None, None));
        assert!(cpu.process_nanoseconds > 0);
        drop(files);
        let stats = look(&mut probe);
        assert!(stats.memory.resident_bytes.is_some() && stats.memory.system_total_bytes.is_some());
        assert!(stats.process.threads.is_some() && stats.cpu.process_share.is_some());
        rlimit::Resource::NOFILE.set(hard, hard).unwrap();
        let limit = (hard != rlimit::INFINITY).then_some(hard);
        assert_eq!(look(&mut probe).process.descriptor_limit, limit);
    });
}

#[test]
fn each_thread_is_counted() {
    alone("each_thread_is_counted", |_| {
        let mut probe = SystemProbe::new().unwrap();
        let before = look(&mut probe).process.threads.unwrap();
        let (stop, stopped) = mpsc::channel::<()>();
        let waiting = std::thread::spawn(move || stopped.recv().unwrap_err());
        assert_eq!(look(&mut probe).process.threads, Some(before + 1));
        drop(stop);
        waiting.join().unwrap();
    });
}

#[test]
fn the_age_is_that_of_the_process() {
    alone("the_age_is_that_of_the_process", |spawned| {
        let mut probe = SystemProbe::new().unwrap();
        let process = look(&mut probe).process;
        let now = unix_seconds();
        let (started, uptime) = (process.started_seconds.unwrap(), process.uptime_seconds.unwrap());
        // The kernel truncates the start of the machine, the start of the process and the current time to whole
        // seconds.
        assert!(
            (spawned - 2..=now + 1).contains(&started),
            "{started}, expected between {spawned} and {now}"
        );
        assert!(uptime <= now - spawned + 2, "{uptime}, spawned at {spawned}, now {now}");
    });
}

#[test]
fn the_load_average_agrees_with_the_kernels_file() {
    alone("the_load_average_agrees_with_the_kernels_file", |_| {
        let mut probe = SystemProbe::new().unwrap();
        let read = || {
            let text = std::fs::read_to_string("/proc/loadavg").unwrap();
            let words: Vec<f64> = text.split(' ').take(3).map(|word| word.parse().unwrap()).collect();
            words
        };
        // The kernel updates the values every five seconds, so two reads in a row rarely differ.
        let agreed = (0..10).any(|_| {
            let (before, load, after) = (read(), look(&mut probe).cpu.load_average.unwrap(), read());
            before == after && before == [load.one, load.five, load.fifteen]
        });
        assert!(agreed);
    });
}

#[test]
fn the_cores_allowed_are_those_that_the_thread_may_run_on() {
    alone("the_cores_allowed_are_those_that_the_thread_may_run_on", |_| {
        let mut probe = SystemProbe::new().unwrap();
        let cpu = look(&mut probe).cpu;
        let text = std::fs::read_to_string("/proc/stat").unwrap();
        let cores = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
        assert_eq!(cpu.cores, Some(cores as u64));
        let allowed = cpu.cores_allowed.unwrap();
        assert!(allowed > 0.0 && allowed <= cores as f64);
        let one = core_affinity::get_core_ids().unwrap()[0];
        assert!(core_affinity::set_for_current(one));
        assert_eq!(look(&mut probe).cpu.cores_allowed, Some(allowed.min(1.0)));
    });
}
