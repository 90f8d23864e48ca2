//! The real engines' tests on the kernel our users have, in a machine that QEMU emulates ([`testkit::tcg`]).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use testkit::tcg::{Job, Machine, Outcome, Report};
use testkit::{bins, images};

/// Time for the whole suite of the real engine in the machine.
const SUITE_BOUND: Duration = Duration::from_secs(40 * 60);
/// Time for one of its tests, which prints only when it has ended.
const SUITE_TEST_BOUND: Duration = Duration::from_secs(180);

/// Why most stories of pauses and of the door are not told there.
const UNTRIED: &str = "came last, and has not been told there yet: each takes a minute of an emulated CPU";
/// The stories that are not told in the machine, and why. All others are, those that are yet to come too.
const UNTOLD: [(&str, &str); 40] = [
    (
        "a_busy_or_silent_sandbox_is_not_given_up",
        "eight loops take every CPU, and beside them an agent is to answer within seconds",
    ),
    ("a_full_disk_is_an_error_inside_and_the_sandbox_lives", "minutes of writing through an emulated kernel"),
    ("a_full_disk_refuses_files_and_leaves_no_half", "minutes of writing through an emulated kernel"),
    ("a_large_file_goes_both_ways_in_constant_memory", "two minutes of copying"),
    (
        "a_listener_that_stalls_is_told_to_look_again",
        "only more files than any emulated CPU makes in five minutes fill every buffer on the way",
    ),
    (
        "files_are_found_by_name_and_by_what_is_in_them",
        "minutes of searching all there is, the kernel's own files too",
    ),
    ("who_may_not_or_asks_for_nothing_gets_nowhere", UNTRIED),
    ("the_environment_names_the_port_where_the_name_does_not", UNTRIED),
    ("large_bodies_go_in_and_out", UNTRIED),
    ("an_app_that_listens_inside_alone_is_reached_too", UNTRIED),
    ("an_app_that_starts_late_and_parts_that_restart_are_waited_for", UNTRIED),
    ("one_whose_app_never_answers_takes_no_room_of_others", UNTRIED),
    ("a_presigned_url_ends_when_it_expires_is_taken_back_or_its_sandbox_goes", UNTRIED),
    ("a_presigned_url_wakes_its_sandbox_and_outlives_parts_that_restart", UNTRIED),
    ("a_presigned_url_of_a_port_where_nobody_listens_says_so", UNTRIED),
    ("a_port_that_is_opened_is_open_to_anybody_and_no_other_is", UNTRIED),
    ("ports_can_be_open_from_the_start_and_asking_wakes", UNTRIED),
    ("what_came_by_a_presigned_url_is_cut_when_that_is_taken_back_and_all_else_goes_on", UNTRIED),
    ("what_came_by_a_presigned_url_is_cut_when_that_expires", UNTRIED),
    ("what_came_to_a_port_is_cut_when_that_is_open_no_longer", UNTRIED),
    ("what_was_allowed_a_moment_ago_is_not_when_it_has_been_taken_back", UNTRIED),
    ("what_happens_at_the_door_is_counted_among_the_metrics", UNTRIED),
    (
        "fifty_generations_keep_every_byte",
        "five of them, told once beside much else, kept an emulated CPU busy for five minutes",
    ),
    ("a_request_that_meets_an_auto_pause_is_only_later", UNTRIED),
    ("a_pause_that_fails_at_any_step_leaves_it_running", UNTRIED),
    ("a_wake_for_which_there_is_no_room_is_refused_and_it_stays_paused", UNTRIED),
    ("a_team_that_may_have_no_more_wakes_none", UNTRIED),
    ("a_stream_that_is_paused_in_its_middle_goes_on_with_every_event_once", UNTRIED),
    ("input_of_a_command_arrives_once_although_it_is_paused", UNTRIED),
    ("a_command_goes_on_over_snapshots_of_its_sandbox", UNTRIED),
    ("who_waits_for_a_sandbox_that_is_deleted_meanwhile_is_told_so", UNTRIED),
    ("snapshots_have_names_that_are_listed_looked_for_and_given_up", UNTRIED),
    ("a_fork_for_which_there_is_no_room_makes_no_copy", UNTRIED),
    ("one_that_is_paused_is_woken_for_its_snapshot_and_can_be_paused_meanwhile", UNTRIED),
    ("a_restart_in_the_middle_leaves_the_sandbox_or_its_snapshot", UNTRIED),
    ("what_is_damaged_or_gone_is_refused_before_anything_starts", UNTRIED),
    ("bytes_go_with_the_last_that_needs_them_and_a_dry_run_says_which", UNTRIED),
    ("what_it_was_when_it_was_last_paused_outlives_a_sandbox_that_breaks", UNTRIED),
    ("a_bucket_keeps_what_sandboxes_were", UNTRIED),
    ("an_engine_that_dies_while_it_is_paused_is_a_death_with_that_reason", UNTRIED),
];

/// The suite. Two stories side by side can be too much for an emulated machine's sense of time, so one that fails
/// is told once more, alone; if it fails again it has failed.
const SUITE: &str = r#"
    /job/metal --test-threads=2 --color=never --exact $SKIPPED 2>&1 | tee /tmp/told
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' /tmp/told)
    if [ -n "$failed" ]; then
        echo "once more, alone:" $failed
        exec /job/metal --test-threads=1 --color=never --exact $failed
    fi
    grep -q '^test result: ok' /tmp/told
"#;

/// What the script says after the demo, before it names what is left.
const LEFT: &str = "left after the demo:";
/// The demo, and a look at what is left that is not its own.
const DEMO: &str = r#"
    /job/project/scripts/demo || exit
    echo "left after the demo:"
    pgrep --list-full 'atoll|runsc'
    grep -e /job/demo -e /run/atoll /proc/self/mountinfo
    losetup --list --noheadings
    ip netns list
    find /run/atoll /sys/fs/cgroup -mindepth 1 -name '*atoll*'
    find /job/demo -name '*sbx-*'
    exit 0
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

#[test]
fn what_is_not_told_in_the_machine_is_a_story_and_has_a_reason() {
    let stories = stories();
    for (name, reason) in UNTOLD {
        assert!(stories.iter().any(|story| story == name), "{name} is no story any more");
        assert!(!reason.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn the_metal_suite_passes_on_debian_12s_kernel() {
    let skipped: Vec<String> = UNTOLD.iter().map(|(name, _)| format!("--skip {name}")).collect();
    let mut job = Job::sh(SUITE)
        .file(prebuilt("metal").unwrap(), "metal", 0o755)
        .file(bins::atoll(), "atoll", 0o755)
        .file(image_dir().await, "images", 0o755)
        .env("ATOLL_BIN", "/job/atoll")
        .env("ATOLL_TEST_IMAGE_DIR", "/job/images")
        .env("ATOLL_TEST_SLOW", "1")
        .env("SKIPPED", &skipped.join(" "))
        .env("RUST_BACKTRACE", "1");
    job.memory_mib = 4096;
    job.bound = SUITE_BOUND;
    job.no_progress_bound = SUITE_TEST_BOUND;
    let report = tokio::task::spawn_blocking(move || run_showing(&job, show_live)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Exited(0), "the suite failed on kernel 6.1; its output is above");
    let told = |name: &str| report.output.lines().any(|line| line == format!("test {name} ... ok"));
    for story in stories() {
        let left_out = UNTOLD.iter().any(|(name, _)| *name == story);
        assert_ne!(told(&story), left_out, "{story} is told exactly when no reason speaks against it");
    }
}

#[tokio::test]
async fn the_demo_works_on_debian_12s_kernel_and_leaves_nothing() {
    let mut job = Job::sh(DEMO)
        .file(manifest_dir().join("../scripts/demo"), "project/scripts/demo", 0o755)
        .file(bins::atoll(), "project/target/release/atoll", 0o755)
        // Where the demo's server will look for what an earlier demo built.
        .file(image_dir().await, "demo/node/images", 0o755)
        .env("ATOLL_DEMO_DIR", "/job/demo");
    job.memory_mib = 4096;
    let report = tokio::task::spawn_blocking(move || run_showing(&job, show_live)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Exited(0), "the demo failed on kernel 6.1; its output is above");
    let (demo, left) = report.output.split_once(LEFT).expect("the demo comes to its end");
    assert!(demo.contains("\nAll of it worked, and nothing is left"), "{demo}");
    assert!(!demo.contains("No such file"), "its own look is blind: {demo}");
    assert_eq!(left.trim(), "", "left by the demo");
}

/// The directory of the images that stories start from, with the template in it.
async fn image_dir() -> PathBuf {
    let images = images::real().await.expect("the template can be built");
    let image = images.list().pop().expect("the template is there");
    image.path.ancestors().nth(2).expect("an image lies in the directory of images").to_owned()
}

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every test of the suite of the real engine.
fn stories() -> Vec<String> {
    let mut suite = Command::new(prebuilt("metal").unwrap());
    let listed = suite.args(["--list", "--format", "terse"]).output().expect("the suite can be started");
    let listed = String::from_utf8(listed.stdout).expect("names of functions are text");
    let stories: Vec<String> =
        listed.lines().filter_map(|line| line.strip_suffix(": test").map(str::to_owned)).collect();
    assert!(!stories.is_empty(), "the suite is empty: {listed}");
    stories
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
