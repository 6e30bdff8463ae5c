//! The examples, as they stand in the repository, but on ports of their own.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use kiln_testkit::{TestEnvironment, free_port, get, wait_until};

use crate::support::{SOON, as_nobody, is_root, repository};

/// An example in a place of its own, listening on a free port.
fn example(name: &str) -> (TestEnvironment, SocketAddr) {
    let env = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
    env.copy_in(repository(&format!("examples/{name}")));
    let port = free_port();
    let spec = std::fs::read_to_string(env.work().join("kiln.hcl")).expect("the example's spec");
    let exposed = spec.find("expose \"http\" {").expect("the example exposes a port");
    let end = exposed + spec[exposed..].find('}').expect("a block ends") + 1;
    let moved = format!("{}expose \"http\" {{ listen = {port} }}{}", &spec[..exposed], &spec[end..]);
    env.write("kiln.hcl", moved);
    (env, SocketAddr::from(([127, 0, 0, 1], port)))
}

fn text(addr: SocketAddr, path: &str) -> String {
    get(addr, "localhost", path, &[]).map(|answer| answer.text()).unwrap_or_default()
}

#[test]
fn hello_says_hello_from_three_instances() {
    let (env, addr) = example("hello");
    env.kiln(["up", "-d"]).success().stderr_has("home page");
    let mut names = std::collections::BTreeSet::new();
    wait_until("all three instances have answered", SOON, || {
        let body = text(addr, "/");
        assert!(body.starts_with("hello from web-1-"), "{body}");
        names.insert(body);
        names.len() == 3
    });
    // The lock is used as it stands: baking again changes nothing.
    let lock = std::fs::read(env.work().join("kiln.lock")).expect("a lock");
    env.kiln(["up", "-d"]).success().stdout_has("nothing to do");
    assert_eq!(std::fs::read(env.work().join("kiln.lock")).expect("a lock"), lock);
    env.kiln(["down"]).success();
}

#[test]
fn static_is_compiled_and_runs_on_nothing() {
    let (env, addr) = example("static");
    env.kiln(["up", "-d"]).success();
    assert!(!text(addr, "/").is_empty());
    let images = env.kiln(["image", "list", "--json"]).success().json();
    let web = images.as_array().expect("a list").iter().find(|one| one["tags"].to_string().contains("web"));
    let size = web.expect("the image web")["size"].as_u64().expect("a size");
    assert!(size < 2 << 20, "an image of one static program has {size} bytes");
    env.kiln(["down"]).success();
}

#[test]
fn shop_keeps_its_data_over_releases() {
    let (env, addr) = example("shop");
    env.kiln(["up", "-d"]).success();
    assert!(text(addr, "/").contains("0 sold"), "a new shop has sold something");
    buy(addr, "teapot");
    let before = text(addr, "/");
    assert!(before.contains("1 sold"), "{before}");
    // A change of the api rolls; the volume outlives every instance.
    touch_api(&env.work());
    env.kiln(["deploy"]).success();
    assert_eq!(text(addr, "/"), before, "the order is lost");
    let volumes = env.kiln_home().join("volumes/shop/api");
    assert!(volumes.is_dir(), "the api has no volume at {}", volumes.display());
    env.kiln(["down"]).success();
    assert!(volumes.is_dir(), "`kiln down` removed a volume");
}

/// Without root there is no bridge: instances have a network of their own with nothing but loopback, and the data
/// plane listens inside it for the services they call.
#[test]
fn shop_runs_for_an_ordinary_user() {
    if !is_root() {
        return;
    }
    let (env, addr) = example("shop");
    let kiln = as_nobody(&env);
    env.run(kiln(&["up", "-d"])).success();
    assert!(text(addr, "/").contains("teapot"), "the front does not reach the api");
    env.run(kiln(&["down"])).success();
}

fn buy(addr: SocketAddr, item: &str) {
    let body = format!("item={item}");
    let mut stream = std::net::TcpStream::connect(addr).expect("a connection");
    let head = "POST /buy HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    write!(stream, "{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 30") || answer.starts_with("HTTP/1.1 20"), "{answer}");
}

fn touch_api(work: &Path) {
    let main = work.join("api/main.py");
    let mut source = std::fs::read_to_string(&main).expect("the api's source");
    source.push_str("\n# another release\n");
    std::fs::write(main, source).expect("the api's source can be written");
}
