//! What processes are started with, and what they say.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use wire::guest::frame::{Body, INITIAL_CREDIT_BYTES};
use wire::guest::{Done, ErrorCode, Exec, ExecCause, Request};

use crate::harness::{Agent, argv, claim_for_ordinary_user, eventually, is_alive, shell};

#[test]
fn output_exit_code_and_signal_are_the_kernels() {
    let (_agent, mut client) = Agent::claimed();
    let ran = client.sh("echo out; echo err >&2; exit 7");
    assert_eq!((ran.stdout.as_slice(), ran.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((ran.end.exit_code, ran.end.signal, ran.end.cause), (Some(7), None, ExecCause::Itself));
    let ran = client.sh("kill -TERM $$");
    assert_eq!((ran.end.exit_code, ran.end.signal, ran.end.cause), (None, Some(15), ExecCause::Itself));
}

#[test]
fn a_program_runs_without_a_shell_in_a_session_of_its_own() {
    let (_agent, mut client) = Agent::claimed();
    assert_eq!(client.run(argv(&["printf", "%s|", "a b", "$HOME", ""])).text(), "a b|$HOME||");
    let ran = client.sh("cut -d' ' -f1,5,6 /proc/self/stat | tr ' ' '\\n' | tail -n +2; echo $$");
    let numbers: Vec<u32> = ran.text().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, [ran.pid, ran.pid, ran.pid], "group, session, the shell itself");
}

#[test]
fn a_process_starts_clean() {
    let (_agent, mut client) = Agent::claimed();
    let ran = client.sh("ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> .*/\\1/p'");
    assert_eq!(ran.text(), "0\n1\n2\n3\n", "stdin, stdout, stderr and what ls itself opened");
    let status = client.run(argv(&["cat", "/proc/self/status"])).text();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    for mask in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        assert_eq!(field(mask), "0000000000000000", "{mask}");
    }
    assert_eq!(client.run(argv(&["cat"])).text(), "", "stdin is empty unless asked for");
    assert_eq!(client.sh("umask").text().trim_start_matches('0'), "22\n");
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let of_tests = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
    assert!(client.run(argv(&["cat", "/proc/self/limits"])).text().contains(&of_tests));
}

#[test]
fn environment_and_working_directory_are_the_claims_then_the_requests() {
    let (agent, mut client) = Agent::claimed();
    fs::create_dir_all(agent.outside("/work/sub")).unwrap();
    let own = BTreeMap::from([("FROM_CLAIM".to_owned(), "no".to_owned()), ("X".to_owned(), "1".to_owned())]);
    let exec = Exec {
        cwd: Some("sub".into()),
        env: own,
        ..shell("pwd; echo $FROM_CLAIM $X; echo $PATH $USER $HOME")
    };
    let text = client.run(exec).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], agent.outside("/work/sub").to_str().unwrap());
    assert_eq!(lines[1], "no 1");
    assert!(lines[2].starts_with("/usr/local/sbin:"), "{text}");
}

#[test]
fn a_start_that_fails_says_what_and_why() {
    let (agent, mut client) = Agent::claimed_with(claim_for_ordinary_user());
    fs::write(agent.outside("/work/plain"), "text").unwrap();
    fs::set_permissions(agent.outside("/work/plain"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(agent.outside("/work/odd"), "\0\0not a program").unwrap();
    fs::set_permissions(agent.outside("/work/odd"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut check = |exec: Exec, code: ErrorCode, named: &str| {
        let error = client.try_run(exec).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(named), "{named} is not in: {error}");
    };
    check(argv(&["no-such-program"]), ErrorCode::NotFound, "no-such-program");
    check(argv(&["./plain"]), ErrorCode::PermissionDenied, "./plain");
    check(argv(&["./odd"]), ErrorCode::Invalid, "./odd");
    check(argv(&["./plain/x"]), ErrorCode::NotFound, "./plain/x");
    check(argv(&[]), ErrorCode::Invalid, "empty");
    check(argv(&["true", "nul\0"]), ErrorCode::Invalid, "NUL");
    check(argv(&["true", &"x".repeat(200_000)]), ErrorCode::TooLarge, "true");
    check(argv(&["true", &"x".repeat(11 << 20)]), ErrorCode::TooLarge, "10485760");
    check(Exec { cwd: Some("nowhere".into()), ..shell("true") }, ErrorCode::NotFound, "/work/nowhere");
    check(Exec { cwd: Some("plain".into()), ..shell("true") }, ErrorCode::NotADirectory, "/work/plain");
    check(Exec { user: Some("nosuch".into()), ..shell("true") }, ErrorCode::NotFound, "nosuch");
    assert_eq!(client.sh("echo still here").text(), "still here\n");
}

#[test]
fn binary_input_comes_back_whole() {
    let (_agent, mut client) = Agent::claimed();
    let content: Vec<u8> =
        (0..3_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let stream = client.open(&Request::Exec(Exec { stdin: true, ..argv(&["sha256sum"]) }));
    client.feed(stream, &content).unwrap();
    let summed = client.ran(stream).unwrap().text();
    let copy = tempfile::NamedTempFile::new().unwrap();
    fs::write(copy.path(), &content).unwrap();
    let expected = std::process::Command::new("sha256sum").stdin(copy.reopen().unwrap()).output().unwrap();
    assert_eq!(summed.as_bytes(), expected.stdout);
    // And through a process that answers while it reads.
    let piece = &content[..100_000];
    let stream = client.open(&Request::Exec(Exec { stdin: true, ..argv(&["cat"]) }));
    client.feed(stream, piece).unwrap();
    assert_eq!(client.ran(stream).unwrap().stdout, piece);
}

#[test]
fn input_for_a_process_that_does_not_read_is_no_failure() {
    let (_agent, mut client) = Agent::claimed();
    let stream = client.open(&Request::Exec(Exec { stdin: true, ..shell("exec <&-; sleep 0.2; echo done") }));
    let _ = client.feed(stream, &vec![1; 2_000_000]);
    assert_eq!(client.ran(stream).unwrap().text(), "done\n");
}

#[test]
fn a_slow_reader_stops_the_process_and_nobody_else() {
    let (agent, mut client) = Agent::claimed();
    let total = 20 << 20;
    let script = format!("head -c {total} /dev/zero; touch said-all");
    let stream = client.open(&Request::Exec(shell(&script)));
    let mut unread = 0;
    while unread < INITIAL_CREDIT_BYTES as usize {
        if let Body::Data(_, bytes) = client.next(stream) {
            unread += bytes.len();
        }
    }
    assert_eq!(unread, INITIAL_CREDIT_BYTES as usize, "more was sent than was granted");
    assert_eq!(client.sh("echo quick").text(), "quick\n", "another process waits for the slow one");
    assert!(client.status().agent_resident_bytes < 32 << 20, "the agent keeps what it cannot send");
    assert!(!agent.outside("/work/said-all").exists(), "the process was not stopped");
    client.send(stream, Body::Credit(unread as u32));
    let ran = client.collect(stream);
    assert_eq!(ran.1.len() + unread, total);
    assert!(agent.outside("/work/said-all").exists());
}

#[test]
fn a_child_left_behind_neither_delays_the_end_nor_dies_of_it() {
    let (agent, mut client) = Agent::claimed();
    let began = Instant::now();
    // It goes on writing: more than a pipe holds, after the end was said.
    let script =
        "(echo $BASHPID; sleep 1; head -c 1000000 /dev/zero && echo ok > survived; sleep 60) & echo parent";
    let ran = client.sh(script);
    assert!(ran.text().contains("parent"));
    assert!(began.elapsed() < Duration::from_secs(1), "the end waited for the child");
    eventually("the child goes on writing", || agent.outside("/work/survived").exists());
}

#[test]
fn long_scripts_run_with_here_documents_and_right_line_numbers() {
    let (_agent, mut client) = Agent::claimed();
    let filler = "# nothing to see\n".repeat(5 << 20 >> 4);
    let script = format!("{filler}cat <<'EOF'\n$HOME `x`\nEOF\nls /proc/self/fd | tail -n +5\nexit 5\n");
    assert!(script.len() > 5 << 20);
    let ran = client.sh(&script);
    assert_eq!((ran.text().as_str(), ran.end.exit_code), ("$HOME `x`\n", Some(5)), "{:?}", ran.stderr);
    let lines = "true\n".repeat(30_000);
    let ran = client.sh(&format!("{lines}fi\n"));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("30001"), "{said}");
}

#[test]
fn the_scripts_file_is_not_inherited() {
    let (_agent, mut client) = Agent::claimed();
    let filler = "# nothing to see\n".repeat(10_000);
    let ran = client.sh(&format!("{filler}readlink /proc/self/fd/9; echo $?"));
    assert_eq!(ran.text(), "1\n");
}

#[test]
fn two_hundred_at_once() {
    let (_agent, mut client) = Agent::claimed();
    let streams: Vec<u32> = (0..200)
        .map(|number| client.open(&Request::Exec(shell(&format!("echo {number}; exit {}", number % 100)))))
        .collect();
    for (number, stream) in streams.into_iter().enumerate() {
        let ran = client.ran(stream).unwrap();
        assert_eq!((ran.text(), ran.end.exit_code), (format!("{number}\n"), Some(number as i32 % 100)));
        assert!(!is_alive(ran.pid));
    }
    assert_eq!(client.status().requests, 1, "the status itself");
}

#[test]
fn a_command_parts_from_its_stream_before_a_pause_and_goes_on_without_it() {
    let (agent, mut client) = Agent::claimed();
    let script = "echo begun; until test -e go; do sleep 0.01; done; echo on | tee done";
    let stream = client.open(&Request::Exec(shell(script)));
    while !matches!(client.next(stream), Body::Data(..)) {}
    let pause = client.open(&Request::Pause { rejoinable: false });
    let (_, _, _, outcome) = client.collect(stream);
    assert_eq!(outcome.unwrap_err().code, ErrorCode::Cancelled);
    assert_eq!(client.collect(pause).3, Ok(Done::Nothing));
    drop(client);
    fs::write(agent.outside("/work/go"), "").unwrap();
    let done = agent.outside("/work/done");
    eventually("it goes on", || fs::read_to_string(&done).is_ok_and(|text| text == "on\n"));
}
