//! Reads figures of the process and the machine: memory, processors, descriptors, age. The monitor's thread owns a
//! [`SystemProbe`]; a host may use one of its own. `sysinfo` reads this process and the machine's totals, never the
//! list of processes. If `sysinfo` cannot read a value, it keeps the previous one; the probe does not pass such
//! values on.

pub(crate) mod cost;
mod figures;
mod quota;

pub use figures::{
    CostStats, CpuStats, LoadAverage, LoadStats, MemoryStats, ProcessStats, RuntimeStats, SystemStats,
};

use crate::error::SystemError;
use crate::sync::os;
use figures::share;
use std::time::{Duration, Instant};
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System,
};

/// Inputs of one look that only the caller knows.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SystemInputs {
    /// `high_memory_threshold_bytes`; 0 for none.
    pub high_memory_threshold_bytes: u64,
    /// Whether to skip `malloc`'s figures, for hosts whose threads must not wait meanwhile
    /// ([`MemoryStats::heap_look_nanoseconds`]).
    pub skip_heap: bool,
    /// The runtime figures that the host pushed last.
    pub runtime: Option<RuntimeStats>,
    /// Load of queues and pools.
    pub load: Option<LoadStats>,
}

/// Reads the figures of this process and its machine. Has one owner. Each look takes a few system calls and a few
/// small allocations.
#[derive(Debug)]
pub struct SystemProbe {
    system: System,
    process: Pid,
    /// When the process's processor time was last read, and its value in nanoseconds.
    used: Option<(Instant, u64)>,
    machine: MachineFigures,
}

/// State of earlier looks, for the shares of the machine's cores.
#[derive(Debug, Default)]
struct MachineFigures {
    /// When the cores' times were last read.
    read: Option<Instant>,
    /// Whether the times have been read twice, so that there are shares.
    compared: bool,
    /// The cores that were online then, in the kernel's notation.
    online: Option<String>,
}

impl SystemProbe {
    /// Creates a probe.
    ///
    /// # Errors
    /// [`SystemError`] if `sysinfo` does not support the operating system.
    pub fn new() -> Result<Self, SystemError> {
        let system = System::new().map_err(|error| SystemError::new(&error))?;
        let process = Pid::from_u32(std::process::id());
        Ok(Self { system, process, used: None, machine: MachineFigures::default() })
    }

    /// Takes one look. Shares of time refer to the time since the previous look.
    pub fn look(&mut self, inputs: &SystemInputs) -> SystemStats {
        let kind = ProcessRefreshKind::nothing().with_memory();
        let processes = ProcessesToUpdate::Some(&[self.process]);
        // If `sysinfo` cannot read the process (no /proc, or no descriptor left), it cannot read anything else either
        // and would keep its previous values.
        let seen = self.system.refresh_processes_specifics(processes, false, kind) == 1;
        SystemStats {
            memory: self.memory(seen, inputs),
            cpu: self.cpu(seen),
            process: self.process(seen),
            runtime: inputs.runtime,
            load: inputs.load,
        }
    }

    fn seen_process(&self, seen: bool) -> Option<&Process> {
        self.system.process(self.process).filter(|_| seen)
    }

    fn memory(&mut self, seen: bool, inputs: &SystemInputs) -> MemoryStats {
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        // Without a total, the file has never been read.
        let total = Some(self.system.total_memory()).filter(|total| seen && *total > 0);
        let available = total.map(|_| self.system.available_memory());
        let process = self.seen_process(seen);
        let limits = process.and_then(Process::cgroup_limits);
        let resident_bytes = process.map(Process::memory);
        let asked = Instant::now();
        let heap_bytes = if inputs.skip_heap { None } else { os::heap_bytes() };
        let heap_look = asked.elapsed().as_nanos() as u64;
        MemoryStats {
            resident_bytes,
            virtual_bytes: process.map(Process::virtual_memory),
            heap_bytes,
            heap_look_nanoseconds: heap_bytes.map(|_| heap_look),
            system_total_bytes: total,
            system_available_bytes: available,
            // In some containers the available memory exceeds the total.
            system_used_bytes: total.zip(available).map(|(total, available)| total.saturating_sub(available)),
            limit_bytes: limits.as_ref().map(|limits| limits.total_memory),
            limit_free_bytes: limits.as_ref().map(|limits| limits.free_memory),
            share_of_threshold: resident_bytes
                .and_then(|resident| share(resident, inputs.high_memory_threshold_bytes)),
        }
    }

    fn cpu(&mut self, seen: bool) -> CpuStats {
        let (now, process_nanoseconds) = (Instant::now(), os::process_cpu_nanoseconds());
        let before = self.used.replace((now, process_nanoseconds));
        let cores_allowed = if seen { cores_allowed() } else { None };
        let process_share = before.zip(cores_allowed).and_then(|((at, used), cores)| {
            let could = now.duration_since(at).as_nanos() as f64 * cores;
            // Clamped, because the two clocks are read one after the other, and because a quota may shift time from
            // one period to the next.
            (could > 0.0).then(|| (process_nanoseconds.saturating_sub(used) as f64 / could).min(1.0))
        });
        let (core_shares, system_share) =
            if seen { self.machine.look(&mut self.system) } else { (None, None) };
        let cores = Some(self.system.cpus().len() as u64).filter(|cores| seen && *cores > 0);
        let load = System::load_average().ok();
        CpuStats {
            process_share,
            process_nanoseconds,
            cores_allowed,
            cores,
            core_shares,
            system_share,
            load_average: load.map(|load| LoadAverage {
                one: load.one,
                five: load.five,
                fifteen: load.fifteen,
            }),
        }
    }

    fn process(&self, seen: bool) -> ProcessStats {
        let process = self.seen_process(seen);
        ProcessStats {
            threads: threads(),
            open_descriptors: open_descriptors(),
            descriptor_limit: os::descriptor_limit(),
            started_seconds: process.map(Process::start_time),
            uptime_seconds: process.map(Process::run_time),
        }
    }
}

impl MachineFigures {
    /// The shares of each core and of all cores, once the times have been read twice.
    fn look(&mut self, system: &mut System) -> (Option<Vec<f64>>, Option<f64>) {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok();
        // `sysinfo` numbers cores by their position in the file. If a core comes or goes, the positions refer to
        // other cores.
        if self.read.is_none() || online != self.online {
            system.refresh_cpu_list(CpuRefreshKind::nothing().with_usage());
            *self = Self { read: Some(Instant::now()), compared: false, online };
        } else if self.read.is_some_and(|read| read.elapsed() >= pause()) {
            system.refresh_cpu_usage();
            (self.read, self.compared) = (Some(Instant::now()), true);
        }
        if !self.compared || system.cpus().is_empty() {
            return (None, None);
        }
        let share = |percent: f32| f64::from(percent) / 100.0;
        let cores = system.cpus().iter().map(|core| share(core.usage())).collect();
        (Some(cores), Some(share(system.global_cpu_usage())))
    }
}

/// `sysinfo` ignores an earlier refresh. Its own clock is read before this module's clock, so no refresh is ignored.
fn pause() -> Duration {
    sysinfo::MINIMUM_CPU_UPDATE_INTERVAL
}

/// Cores that this process may use: the cores that this thread may run on, and so the cores of any thread that is not
/// pinned.
fn cores_allowed() -> Option<f64> {
    let Some(quota) = quota::cores() else {
        return std::thread::available_parallelism().ok().map(|cores| cores.get() as f64);
    };
    let cores = core_affinity::get_core_ids().map_or(f64::INFINITY, |cores| cores.len().max(1) as f64);
    Some(quota.min(cores))
}

fn threads() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

/// From Linux 6.2 on the directory's size is the number of descriptors, which needs no descriptor and no walk.
/// Earlier kernels report 0.
fn open_descriptors() -> Option<u64> {
    let folder = "/proc/self/fd";
    match std::fs::metadata(folder).ok()?.len() {
        // Without the descriptor that reads the directory.
        0 => Some((std::fs::read_dir(folder).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps this thread busy for at least `duration` of processor time and of wall time.
    fn burn(duration: Duration) -> u64 {
        let (start, before) = (Instant::now(), os::thread_cpu_nanoseconds());
        let wanted = duration.as_nanos() as u64;
        while os::thread_cpu_nanoseconds() - before < wanted || start.elapsed() < duration {}
        os::thread_cpu_nanoseconds() - before
    }

    #[test]
    fn what_a_thread_burns_is_in_the_processs_time_and_share() {
        let mut probe = SystemProbe::new().unwrap();
        let start = Instant::now();
        let first = probe.look(&SystemInputs::default()).cpu;
        assert_eq!((first.process_share, first.core_shares, first.system_share), (None, None, None));
        let burnt = burn(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL * 2);
        let second = probe.look(&SystemInputs::default()).cpu;
        let whole = start.elapsed().as_nanos() as f64;
        assert!(second.process_nanoseconds - first.process_nanoseconds >= burnt);
        // Less time than `whole` passed between the looks, so the share is at least this.
        let (allowed, share) = (second.cores_allowed.unwrap(), second.process_share.unwrap());
        let least = (burnt as f64 / (whole * allowed)).min(1.0);
        assert!((least..=1.0).contains(&share), "{share} of {allowed} cores, and at least {least}");
        // The kernel counts the machine's time in ticks, so require only half of what was burnt.
        let (cores, system) = (second.core_shares.unwrap(), second.system_share.unwrap());
        assert_eq!(cores.len() as u64, second.cores.unwrap());
        assert!(cores.iter().all(|share| (0.0..=1.0).contains(share)) && (0.0..=1.0).contains(&system));
        let least = burnt as f64 / whole / 2.0;
        let (sum, together) = (cores.iter().sum::<f64>(), system * cores.len() as f64);
        assert!(sum >= least && together >= least, "{sum} and {together} cores, and at least {least}");
    }

    #[test]
    fn a_change_of_the_cores_starts_the_comparison_anew() {
        let mut probe = SystemProbe::new().unwrap();
        probe.look(&SystemInputs::default());
        burn(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL * 2);
        assert!(probe.look(&SystemInputs::default()).cpu.core_shares.is_some());
        probe.machine.online = Some("0-1023\n".to_owned());
        assert_eq!(probe.look(&SystemInputs::default()).cpu.core_shares, None);
        burn(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL * 2);
        assert!(probe.look(&SystemInputs::default()).cpu.core_shares.is_some());
    }

    #[test]
    fn what_the_caller_gives_is_in_the_look() {
        let mut probe = SystemProbe::new().unwrap();
        let runtime = RuntimeStats { goroutines: 12, ..RuntimeStats::default() };
        let inputs = SystemInputs {
            high_memory_threshold_bytes: 1 << 30,
            skip_heap: true,
            runtime: Some(runtime),
            load: Some(LoadStats::new(3, 1, 4, Some(0.5))),
        };
        let stats = probe.look(&inputs);
        assert_eq!((stats.runtime, stats.load), (inputs.runtime, inputs.load));
        let resident = stats.memory.resident_bytes.unwrap();
        assert!(resident > 0);
        assert_eq!(stats.memory.share_of_threshold, Some(resident as f64 / f64::from(1 << 30)));
        assert_eq!((stats.memory.heap_bytes, stats.memory.heap_look_nanoseconds), (None, None));
        let stats = probe.look(&SystemInputs::default());
        let looked = stats.memory.heap_look_nanoseconds.is_some_and(|time| time > 0);
        assert_eq!([stats.memory.heap_bytes.is_some(), looked], [cfg!(target_env = "gnu"); 2]);
        assert_eq!((stats.memory.share_of_threshold, stats.runtime), (None, None));
    }
}
