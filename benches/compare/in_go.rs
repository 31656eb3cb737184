//! The comparisons that are programs in Go (go/bench): RouteMessage against a pool of goroutines and channels, recording
//! against client_golang. Its figures go to report.json as they are.

use crate::built;
use crate::race::Report;
use std::process::Command;

pub fn run(report: &mut Report) {
    let program = built("go_bench");
    if !program.exists() {
        return report.skip("go: go_bench is not beside the benchmark");
    }
    let file = built("go.json");
    let length = if report.quick { "5ms" } else { "100ms" };
    let mut command = Command::new(program);
    command.arg("-rounds").arg(report.rounds.to_string()).args(["-round", length]).arg("-json").arg(&file);
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => return report.skip(format_args!("go: go_bench has ended with {status}")),
        Err(error) => return report.skip(format_args!("go: {error}")),
    }
    let read = std::fs::read_to_string(&file).map_err(|error| error.to_string());
    match read.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string())) {
        Ok(figures) => report.go = figures,
        Err(why) => report.skip(format_args!("go: {}: {why}", file.display())),
    }
}
