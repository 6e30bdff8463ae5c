//! The cases.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kiln_control::What;
use kiln_control::api::RollbackRequest;
use kiln_model::{Amount, Port, Protocol, Span, Strategy};
use rustix::process::Signal;

use crate::home::{Home, block_on, name, resident, signal};
use crate::load::{Load, get};

pub(crate) fn all() -> Vec<(&'static str, fn())> {
    vec![
        ("deploys_lose_no_request", deploys_lose_no_request),
        ("a_release_that_does_not_start_never_serves", a_release_that_does_not_start_never_serves),
        ("a_rollback_in_the_hold_is_at_once", a_rollback_in_the_hold_is_at_once),
        ("a_killed_control_plane_finds_everything_again", a_killed_control_plane_finds_everything_again),
        ("a_killed_data_plane_is_started_again", a_killed_data_plane_is_started_again),
        ("one_control_plane_for_each_home", one_control_plane_for_each_home),
        ("a_port_in_use_turns_the_deploy_back", a_port_in_use_turns_the_deploy_back),
        ("instances_call_other_services_by_name", instances_call_other_services_by_name),
    ]
}

fn blue_green() -> Strategy {
    Strategy::BlueGreen { hold: Span::from_secs(0) }
}

fn rolling() -> Strategy {
    Strategy::Rolling {
        max_surge: Amount::Count(1),
        max_unavailable: Amount::Count(0),
        batch: None,
        pause: Span::from_secs(0),
    }
}

fn deploys_lose_no_request() {
    let home = Home::new();
    let begun = Instant::now();
    assert!(matches!(home.deploy(home.content("one", blue_green())), What::Succeeded { .. }));
    eprintln!("first deploy: {:?}", begun.elapsed());
    assert_eq!(get(home.port(), "/").unwrap(), "one");
    let load = Load::start(home.port());
    for (say, strategy) in [("two", blue_green()), ("three", rolling()), ("four", blue_green())] {
        let begun = Instant::now();
        let told = home.deploy(home.content(say, strategy.clone()));
        assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
        eprintln!("{say}: {strategy:?} {:?}", begun.elapsed());
        assert_eq!(get(home.port(), "/").unwrap(), say);
    }
    let answers = load.end();
    let said: BTreeSet<&str> = answers.keys().map(String::as_str).collect();
    assert_eq!(said, BTreeSet::from(["one", "two", "three", "four"]));
    eprintln!(
        "{answers:?}; serve {} kB, proxy {} kB",
        resident(home.serve_pid()),
        resident(home.status().proxy.pid.unwrap())
    );
    assert!(resident(home.serve_pid()) < 50_000, "an idle control plane stays below 50 MB");
}

fn a_release_that_does_not_start_never_serves() {
    let home = Home::new();
    home.deploy(home.content("good", blue_green()));
    let load = Load::start(home.port());
    let mut broken = home.content("bad", blue_green());
    broken.service.env.insert("BROKEN".into(), "1".into());
    let told = home.deploy(broken);
    let What::RolledBack { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.contains("I am broken"), "{reason}");
    let mut lying = home.content("other", blue_green());
    lying.service.env.insert("SAY".into(), "something else".into());
    let told = home.deploy(lying);
    let What::RolledBack { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.contains("check \"says it\"") && reason.contains("something else"), "{reason}");
    assert_eq!(load.end().into_keys().collect::<Vec<_>>(), ["good"]);
}

fn a_rollback_in_the_hold_is_at_once() {
    let home = Home::new();
    home.deploy(home.content("old", blue_green()));
    let held = Strategy::BlueGreen { hold: Span::from_secs(3600) };
    let answer = home.begin(home.content("new", held));
    let load = Load::start(home.port());
    home.wait("the shift", || get(home.port(), "/").ok().filter(|body| body == "new"));
    let request = RollbackRequest {
        environment: name("dev"),
        service: name("web"),
        release: None,
        author: "bob".into(),
        reason: None,
    };
    let begun = Instant::now();
    block_on(home.client().rollback(&request)).unwrap();
    home.wait("the way back", || get(home.port(), "/").ok().filter(|body| body == "old"));
    let took = begun.elapsed();
    eprintln!("traffic was back after {took:?}");
    // Of an hour's hold nothing is waited for.
    assert!(took < Duration::from_secs(60), "{took:?}");
    let ended = home.until(answer.after, |event| event.what.ends_rollout());
    assert!(matches!(ended.what, What::RolledBack { .. }), "{ended:?}");
    load.end();
}

fn a_killed_control_plane_finds_everything_again() {
    let mut home = Home::new();
    home.deploy(home.content("one", blue_green()));
    let ids =
        |home: &Home| -> BTreeSet<_> { home.instances().into_iter().map(|it| it.observed.id).collect() };
    let before = ids(&home);
    let load = Load::start(home.port());
    home.end_serve(Signal::KILL);
    std::thread::sleep(Duration::from_millis(100));
    home.start("serve");
    assert_eq!(ids(&home), before, "not one instance more or less");
    assert!(home.end_serve(Signal::TERM).success());
    home.start("serve");
    assert_eq!(ids(&home), before);
    // In the middle of deploys, at another moment each time.
    for (round, say) in ["two", "three", "four"].into_iter().enumerate() {
        let answer = home.begin(home.content(say, rolling()));
        std::thread::sleep(Duration::from_millis(40 + 90 * round as u64));
        home.end_serve(Signal::KILL);
        home.start("serve");
        let ended = home.until(answer.after, |event| event.what.ends_rollout());
        assert!(matches!(ended.what, What::Succeeded { .. }), "{ended:?}");
    }
    load.end();
    home.wait("three instances", || (home.instances().len() == 3).then_some(()));
}

fn a_killed_data_plane_is_started_again() {
    let home = Home::new();
    home.deploy(home.content("one", blue_green()));
    let first = home.status().proxy.pid.unwrap();
    signal(first, Signal::KILL);
    let begun = Instant::now();
    home.wait("another data plane", || get(home.port(), "/").ok());
    eprintln!("served again after {:?}", begun.elapsed());
    home.wait("its word", || home.status().proxy.pid.filter(|pid| *pid != first));
    assert!(matches!(home.deploy(home.content("two", blue_green())), What::Succeeded { .. }));
    assert_eq!(get(home.port(), "/").unwrap(), "two");
}

fn one_control_plane_for_each_home() {
    let mut home = Home::new();
    let second = home.spawn("serve").wait().unwrap();
    assert!(!second.success());
    let pid = home.serve_pid();
    assert!(
        home.log("serve.log")
            .contains(&format!("already runs for {} (process {pid})", home.path().display()))
    );
    home.deploy(home.content("one", blue_green()));
    let load = Load::start(home.port());
    let proxy = block_on(home.proxy().status()).unwrap().pid;
    home.start("replace");
    assert_ne!(home.serve_pid(), pid);
    assert_eq!(block_on(home.proxy().status()).unwrap().pid, proxy, "the data plane goes on");
    load.end();
}

fn a_port_in_use_turns_the_deploy_back() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", home.port())).unwrap();
    let told = home.deploy(home.content("one", blue_green()));
    let What::RolledBack { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.contains(&home.port().to_string()), "{reason}");
    drop(taken);
    let told = home.deploy(home.content("one", blue_green()));
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
}

fn instances_call_other_services_by_name() {
    let home = Home::new();
    let mut called = home.content("I am api", rolling());
    called.service.name = name("api");
    called.service.expose.clear();
    called.service.env.insert("PORT".into(), "8081".into());
    called.config.ports.insert(name("http"), Port { number: 8081, protocol: Protocol::Http });
    home.deploy(called.clone());
    let mut caller = home.content("I am web", blue_green());
    caller.service.depends_on.push(name("api"));
    let told = home.deploy(caller);
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    assert_eq!(get(home.port(), "/call/api:8081").unwrap(), "I am api");
    assert_eq!(get(home.port(), "/call/db:8081").unwrap(), "unknown name");
    // A new release of what is called is reached by the same name, without a word to the caller.
    called.service.env.insert("SAY".into(), "I am new".into());
    called.checks.clear();
    home.deploy(called);
    assert_eq!(get(home.port(), "/call/api:8081").unwrap(), "I am new");
}
