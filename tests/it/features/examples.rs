//! The examples, as cron and Jenkins run them.

use super::*;

#[test]
fn the_examples_work_as_cron_and_jenkins_run_them() {
    for tool in ["setsid", "git", "timeout", "bash"] {
        if Command::new(tool).arg("--version").output().is_err() {
            skipped(&format!("there is no {tool}"));
            return;
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check-examples");
    let output = Command::new(script)
        .arg(binary())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let parts = told.lines().filter(|line| line.starts_with("skipped"));
    parts.for_each(skipped);
    assert!(output.status.success(), "{told}");
}
