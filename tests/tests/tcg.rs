//! The real engines' tests on the kernel our users have, in a machine that QEMU emulates ([`testkit::tcg`]).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use testkit::tcg::{Job, Machine, Outcome, Report};
use testkit::{bins, images};

/// Time for the whole suite of the real engine in the machine.
const SUITE_BOUND: Duration = Duration::from_secs(15 * 60);
/// Time for one of its tests, which prints only when it has ended.
const SUITE_TEST_BOUND: Duration = Duration::from_secs(180);

/// The stories that are told in the machine. Those of files, processes and terminals that came later have not been tried
/// on an emulated CPU yet, where they take minutes each.
const STORIES: [&str; 34] = [
    "a_program_runs_and_its_output_and_code_come_back",
    "a_sandbox_is_shown_as_the_contract_says",
    "environment_workdir_and_user_are_those_of_template_and_request",
    "a_sandbox_ends_when_its_time_is_up",
    "delete_twice_is_as_good_as_once",
    "two_sandboxes_share_nothing",
    "a_hundred_creates_at_once_end_in_sandboxes_or_clean_refusals",
    "a_server_is_up_when_its_port_answers",
    "a_service_is_up_when_it_answers_well",
    "a_command_says_when_it_is_up",
    "one_that_ends_before_it_is_up_fails_the_create_with_its_last_words",
    "one_that_never_comes_up_fails_the_create_with_what_was_seen",
    "what_cannot_be_started_loses_the_sandbox_only_where_it_was_to_be_waited_for",
    "it_starts_as_the_user_in_the_workdir_with_the_environment_and_no_input",
    "it_is_asked_to_stop_before_the_machine_goes",
    "one_that_does_not_stop_or_answer_goes_all_the_same",
    "a_delete_does_not_wait_until_it_is_up",
    "a_node_that_restarts_meanwhile_starts_it_neither_twice_nor_never",
    "a_signal_and_a_timeout_are_told_apart_from_an_exit",
    "a_background_child_does_not_hold_the_answer",
    "long_commands_and_here_documents_work",
    "much_output_arrives_whole",
    "a_stream_ends_with_how_the_command_ended",
    "many_commands_at_once_keep_their_output_apart",
    "what_cannot_be_started_is_named",
    "what_is_written_is_read_back",
    "parts_of_a_file_are_read",
    "missing_files_directories_and_denied_ones_are_told_apart",
    "no_path_leaves_the_sandbox",
    "each_step_of_a_bring_up_fails_in_turn_and_leaves_nothing",
    "a_node_that_restarts_finds_its_sandboxes_running",
    "a_control_that_restarts_has_forgotten_nothing",
    "an_engine_that_is_killed_is_a_death_with_a_reason",
    "a_planted_leak_is_found",
];

/// The suite. Two stories side by side can be too much for an emulated machine's sense of time, so one that fails
/// is told once more, alone; if it fails again it has failed.
const SUITE: &str = r#"
    /job/metal --test-threads=2 --color=never --exact $STORIES 2>&1 | tee /tmp/told
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' /tmp/told)
    if [ -n "$failed" ]; then
        echo "once more, alone:" $failed
        exec /job/metal --test-threads=1 --color=never --exact $failed
    fi
    grep -q '^test result: ok' /tmp/told
"#;

/// Runs a job in the machine. What it prints is shown if the test fails.
fn run(job: &Job) -> Report {
    run_showing(job, |line| println!("{line}"))
}

fn run_showing(job: &Job, mut show: impl FnMut(&str)) -> Report {
    let machine = Machine::prepare().expect("the machine can be made");
    let begin = Instant::now();
    let show = |line: &str| show(&format!("{:7.1} s  {line}", begin.elapsed().as_secs_f64()));
    let report = machine.run(job, show).expect("the machine can be started");
    println!("{report}");
    report
}

/// Shows a line at once, whether or not the test fails: whoever waits for minutes wants to see why.
fn show_live(line: &str) {
    // A terminal that went away is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn the_machine_has_debian_12s_kernel_and_cgroup_v2_only() {
    let script = r#"
        uname -r
        stat -f -c %T /sys/fs/cgroup
        grep -c cgroup /proc/mounts
        cat /proc/self/cgroup
        cat /sys/fs/cgroup/cgroup.subtree_control
        ls -d /dev/loop-control /dev/net/tun
        ip -brief address show lo
        findmnt --noheadings --output PROPAGATION /
    "#;
    let report = run(&Job::sh(script));
    assert_eq!(report.outcome, Outcome::Exited(0));
    let lines: Vec<&str> = report.output.lines().collect();
    let [kernel, cgroup, mounts, ours, controllers, loops, tun, lo, propagation] = lines[..] else {
        panic!("{lines:?}");
    };
    assert!(kernel.starts_with("6.1."), "{kernel}");
    assert_eq!((cgroup, mounts), ("cgroup2fs", "1"));
    assert_eq!(ours, "0::/system.slice/job.service");
    for controller in ["cpu", "memory", "pids", "io", "cpuset"] {
        assert!(controllers.split(' ').any(|word| word == controller), "{controllers}");
    }
    assert_eq!((loops, tun), ("/dev/loop-control", "/dev/net/tun"));
    assert!(lo.contains("127.0.0.1/8"), "{lo}");
    assert_eq!(propagation, "shared");
    assert!(report.boot.is_some_and(|boot| boot > Duration::ZERO), "{:?}", report.boot);
}

#[test]
fn a_commands_output_code_and_files_come_through() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    std::fs::write(directory.path().join("sub/file"), "carried").unwrap();
    // The child that is left behind holds the output open; nobody waits for it.
    let script = r#"
        echo "to stdout $VALUE"; echo to stderr >&2
        cat /job/data/sub/file; echo; /job/tool; stat -c %a /job/tool
        seq 1 20000
        sleep 1000 &
        printf 'no end of line'
        exit 7
    "#;
    let tool = directory.path().join("tool");
    std::fs::write(&tool, "#!/bin/sh\necho the tool ran\n").unwrap();
    let job = Job::sh(script)
        .file(directory.path(), "data", 0o755)
        .file(&tool, "tool", 0o700)
        .env("VALUE", "it's $HOME");
    let report = run(&job);
    assert_eq!(report.outcome, Outcome::Exited(7));
    let numbers = (1..=20000).map(|number| format!("{number}\n")).collect::<String>();
    let expected =
        format!("to stdout it's $HOME\nto stderr\ncarried\nthe tool ran\n700\n{numbers}no end of line\n");
    assert!(report.output == expected, "other output than expected");
}

#[test]
fn a_machine_that_hangs_is_started_afresh_and_then_given_up() {
    let job = Job {
        no_progress_bound: Duration::from_secs(3),
        attempts_max: 2,
        ..Job::sh("echo started; sleep 1000; echo never")
    };
    let report = run(&job);
    assert_eq!((report.outcome, report.retries), (Outcome::NoProgress, vec![Outcome::NoProgress]));
    assert_eq!(report.output, "started\n");
}

#[test]
fn a_job_that_talks_for_ever_runs_out_of_time() {
    let job = Job {
        bound: Duration::from_secs(20),
        no_progress_bound: Duration::from_secs(15),
        ..Job::sh("while :; do echo still here; sleep 1; done")
    };
    let report = run(&job);
    assert_eq!((report.outcome, report.retries), (Outcome::OutOfTime, vec![]));
    assert!(report.output.starts_with("still here\nstill here\n"), "{}", report.output);
    assert!(report.elapsed < Duration::from_secs(30), "{:?}", report.elapsed);
}

#[test]
fn a_kernel_that_dies_is_no_success() {
    let job = Job {
        attempts_max: 1,
        ..Job::sh("echo 1 >/proc/sys/kernel/panic_on_oops; echo c >/proc/sysrq-trigger; sleep 1000")
    };
    let report = run(&job);
    assert_eq!(report.outcome, Outcome::Died);
    assert!(report.console.contains("Kernel panic"), "{}", report.console);
}

#[tokio::test]
async fn the_metal_suite_passes_on_debian_12s_kernel() {
    let images = images::real().await.expect("the template can be built");
    let image = images.list().pop().expect("the template is there");
    let images_dir = image.path.ancestors().nth(2).expect("an image lies in the directory of images");
    let mut job = Job::sh(SUITE)
        .file(prebuilt("metal").unwrap(), "metal", 0o755)
        .file(bins::atoll(), "atoll", 0o755)
        .file(images_dir, "images", 0o755)
        .env("ATOLL_BIN", "/job/atoll")
        .env("ATOLL_TEST_IMAGE_DIR", "/job/images")
        .env("ATOLL_TEST_SLOW", "1")
        .env("STORIES", &STORIES.join(" "))
        .env("RUST_BACKTRACE", "1");
    job.memory_mib = 4096;
    job.bound = SUITE_BOUND;
    job.no_progress_bound = SUITE_TEST_BOUND;
    let report = tokio::task::spawn_blocking(move || run_showing(&job, show_live)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Exited(0), "the suite failed on kernel 6.1; its output is above");
    // A suite that ran nothing has shown nothing.
    assert!(
        report.output.contains("test result: ok.") && !report.output.contains(" 0 passed"),
        "no test ran"
    );
}

/// The newest test program of this name that was built beside this one.
fn prebuilt(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let deps = own.parent().context("a test lies in a directory")?;
    let mut found: Option<(SystemTime, PathBuf)> = None;
    for entry in std::fs::read_dir(deps)? {
        let path = entry?.path();
        if is_test_program(&path, name) {
            let built = path.metadata()?.modified()?;
            found = found.max(Some((built, path)));
        }
    }
    let (_, path) = found.with_context(|| {
        format!(
            "no {name}-* in {}; build it: `cargo test --release -p tests --test {name} --no-run`",
            deps.display()
        )
    })?;
    Ok(path)
}

/// Cargo calls it `<name>-<16 hex digits>`.
fn is_test_program(path: &Path, name: &str) -> bool {
    let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    let hash = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
    hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}
