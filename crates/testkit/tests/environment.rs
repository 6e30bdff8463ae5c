//! The environment and the load generator, with a shell in Kiln's place and a server of a few lines.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use kiln_testkit::{LoadPlan, TestEnvironment, free_port, get, is_alive, wait_for, wait_until};

fn shell() -> TestEnvironment {
    TestEnvironment::new("/bin/sh")
}

#[test]
fn outcomes_are_told_apart() {
    let env = shell();
    let good = env.kiln(["-c", r#"echo '{"a": 1}'; echo note >&2"#]);
    assert_eq!(good.success().stderr_has("note").json()["a"], 1);
    env.kiln(["-c", "echo why >&2; exit 3"]).failure().code(3).stderr_has("why");
    let lines = env.kiln(["-c", r#"printf '1\n{"b":2}\n'"#]).json_lines();
    assert_eq!(lines[1]["b"], 2);
}

#[test]
#[should_panic(expected = "should have succeeded")]
fn a_failure_is_no_success() {
    shell().kiln(["-c", "exit 1"]).success();
}

#[test]
fn nothing_of_the_caller_gets_in_but_what_must() {
    let mut env = shell();
    env.set_env("EXTRA", "yes");
    let seen = env.kiln(["-c", "env; pwd"]);
    let home = env.kiln_home();
    seen.stdout_has(&format!("KILN_HOME={}", home.display())).stdout_has("EXTRA=yes").stdout_has("TZ=UTC");
    assert!(!seen.stdout.contains("CARGO_MANIFEST_DIR"), "{seen}");
    assert!(seen.stdout.trim_end().ends_with("/work"), "{seen}");
}

#[test]
fn everything_under_its_home_ends_with_it() {
    let env = shell();
    // A daemon: nobody's child by the time the test looks for it.
    env.kiln(["-c", "mkdir -p $KILN_HOME/run; (sleep 1000 & echo $! >$KILN_HOME/run/serve.pid) &"]).success();
    let daemon = wait_for("the daemon", Duration::from_secs(60), || env.serve_pid());
    let other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    wait_until("the daemon to be found", Duration::from_secs(60), || env.processes().contains(&daemon));
    assert!(!env.processes().contains(&other.id()) && !env.processes().contains(&std::process::id()));
    let running = env.spawn(["-c", "echo up; sleep 1000"]);
    wait_until("its first line", Duration::from_secs(60), || running.stdout().contains("up"));
    let pid = running.pid();
    drop(running);
    drop(env);
    wait_until("everything to end", Duration::from_secs(60), || !is_alive(daemon) && !is_alive(pid));
    let mut other = other;
    assert!(is_alive(other.id()), "somebody else's process was ended");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
#[should_panic(expected = "in vain for pigs to fly")]
fn waiting_says_what_for() {
    wait_until("pigs to fly", Duration::from_millis(50), || false);
}

/// Serves each connection until `answer` says nothing more.
fn serve(answer: fn(u32, &mut TcpStream) -> bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut writer = stream;
                for number in 0.. {
                    loop {
                        let mut line = String::new();
                        match reader.read_line(&mut line) {
                            Ok(0) | Err(_) => return,
                            Ok(_) if line == "\r\n" => break,
                            Ok(_) => {}
                        }
                    }
                    if !answer(number, &mut writer) {
                        return;
                    }
                }
            });
        }
    });
    addr
}

fn load_until(addr: SocketAddr, enough: impl Fn(&kiln_testkit::Load) -> bool) -> kiln_testkit::LoadReport {
    let load = LoadPlan { rate: 0, connections: 2, ..LoadPlan::new(addr) }.start();
    wait_until("enough of the load", Duration::from_secs(60), || enough(&load));
    load.stop()
}

#[test]
fn load_over_kept_and_closed_connections_is_lossless() {
    let addr = serve(|number, stream| {
        match number {
        0 => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nv1\n").is_ok(),
        1 => stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nv2\r\n1\r\n\n\r\n0\r\nx: y\r\n\r\n")
            .is_ok(),
        _ => {
            stream.write_all(b"HTTP/1.1 404 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
            false
        }
    }
    });
    let report = load_until(addr, |load| load.answered() >= 300);
    report.assert_lossless();
    assert_eq!(report.answers.keys().collect::<Vec<_>>(), ["", "v1", "v2"], "{report}");
    assert!(report.statuses[&200] > 100 && report.statuses[&404] > 50, "{report}");
    assert!(report.percentile(0.5) <= report.percentile(0.99));
    assert_eq!(get(addr, "a", "/", &[("x", "y")]).unwrap().text(), "v1\n");
}

#[test]
fn what_is_lost_is_counted() {
    let broken: [fn(u32, &mut TcpStream) -> bool; 3] = [
        |_, _| false,
        |_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort").is_err(),
        |_, stream| stream.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").is_ok(),
    ];
    for answer in broken {
        let report = load_until(serve(answer), |load| load.failed() >= 18);
        assert!(report.failed >= 18, "{report}");
        assert!(!report.failures.is_empty());
    }
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    assert!(load_until(nobody, |load| load.failed() >= 5).failed >= 5);
}

#[test]
fn the_load_keeps_its_pace() {
    let addr = serve(|_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_ok());
    let load = LoadPlan { rate: 100, connections: 4, ..LoadPlan::new(addr) }.start();
    wait_until("50 answers", Duration::from_secs(60), || load.answered() >= 50);
    let report = load.stop();
    let rate = report.answered as f64 / report.took.as_secs_f64();
    assert!(rate < 140.0, "{rate} requests a second instead of 100: {report}");
}
