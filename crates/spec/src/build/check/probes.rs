//! The blocks of a `check`, one expectation each.

use std::collections::BTreeMap;

use kiln_model::{
    CheckProbe, CommandCheck, ConfigCheck, FileCheck, FileKind, GroupCheck, HttpCheck, ListeningCheck,
    LoadCheck, LogCheck, MemoryCheck, PackageCheck, ProcessCheck, ReadOnlyRootCheck, Span, StartCheck,
    StopCheck, TcpCheck, TextExpect, Transport, UserCheck,
};

use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;

/// The longest load: more belongs into a canary.
const LONGEST_LOAD: Span = Span::from_secs(3600);

/// `None` for what is no expectation, or not in order, which was reported.
pub(super) fn build(world: &World<'_>, block: &Section<'_>) -> Option<CheckProbe> {
    Some(match block.def.name {
        "http" => CheckProbe::Http(Box::new(http(world, block)?)),
        "tcp" => CheckProbe::Tcp(TcpCheck {
            port: block.named("port"),
            send: block.text("send"),
            expect: expect(block),
        }),
        "command" => CheckProbe::Command(CommandCheck {
            command: block.command("run")?,
            exit: block.whole("exit").unwrap_or(0),
            stdout: expect(block),
            stderr: block.one("stderr").map(expect).unwrap_or_default(),
            user: block.text("user"),
        }),
        "file" => CheckProbe::File(Box::new(file(world, block)?)),
        "user" => CheckProbe::User(UserCheck {
            name: block.label_text().to_owned(),
            exists: exists(world, block),
            uid: block.whole("uid"),
            gid: block.whole("gid"),
            groups: block.texts("groups").unwrap_or_default(),
            home: block.text("home"),
            shell: block.text("shell"),
        }),
        "group" => CheckProbe::Group(GroupCheck {
            name: block.label_text().to_owned(),
            exists: exists(world, block),
            gid: block.whole("gid"),
        }),
        "package" => CheckProbe::Package(PackageCheck {
            name: block.label_text().to_owned(),
            installed: absent_or(world, block, "installed"),
            version: block.text("version"),
        }),
        "config" => CheckProbe::Config(Box::new(config(world, block))),
        "load" => CheckProbe::Load(load(world, block)?),
        "read_only_root" => CheckProbe::ReadOnlyRoot(ReadOnlyRootCheck { writes: block.texts("writes") }),
        _ => return of_instance(world, block),
    })
}

/// Expectations of what runs.
fn of_instance(world: &World<'_>, block: &Section<'_>) -> Option<CheckProbe> {
    Some(match block.def.name {
        "listening" => CheckProbe::Listening(ListeningCheck {
            port: block.whole("port")?,
            protocol: match block.text("protocol").as_deref() {
                Some("udp") => Transport::Udp,
                _ => Transport::Tcp,
            },
            address: block.text("address"),
            listening: block.flag("listening").unwrap_or(true),
        }),
        "process" => CheckProbe::Process(ProcessCheck {
            name: block.label_text().to_owned(),
            cmdline: block.words("cmdline").into_iter().next(),
            running: absent_or(world, block, "running"),
            count: block.whole("count"),
            user: block.text("user"),
        }),
        "log" => CheckProbe::Log(log(world, block)),
        "start" => CheckProbe::Start(StartCheck { within: block.span("within")? }),
        "memory" => CheckProbe::Memory(MemoryCheck { max: block.size("max")? }),
        "stop" => CheckProbe::Stop(StopCheck { within: block.span("within"), exit: block.whole("exit") }),
        _ => return None,
    })
}

fn expect(block: &Section<'_>) -> TextExpect {
    TextExpect {
        equals: block.text("equals"),
        contains: block.words("contains"),
        matches: block.words("matches"),
    }
}

fn http(world: &World<'_>, block: &Section<'_>) -> Option<HttpCheck> {
    let form = block.exactly_one(world, &["get", "post", "path"], "an `http` check")?;
    if block.has("method") && form != "path" {
        let problem = Problem::error(block.at("method"), format!("`{form}` says the method already"));
        world.report.add(problem.help(format!("write `path` in place of `{form}`, or take `method` out")));
    }
    let method = match form {
        "post" => "POST".to_owned(),
        _ => block.text("method").unwrap_or_else(|| "GET".into()),
    };
    let status = block.wholes("status");
    let headers = block.all("header");
    Some(HttpCheck {
        method,
        path: block.text(form)?,
        port: block.named("port"),
        headers: block.map("headers"),
        body: block.text("body"),
        status: if status.is_empty() { vec![200] } else { status },
        expect_headers: headers
            .map(|header| (header.label_text().to_ascii_lowercase(), expect(header)))
            .collect::<BTreeMap<_, _>>(),
        expect: expect(block),
        json: block.map("json"),
        max_time: block.span("max_time"),
    })
}

fn file(world: &World<'_>, block: &Section<'_>) -> Option<FileCheck> {
    let path = block.label_text();
    if !path.starts_with('/') || path.split('/').any(|part| part == ".." || part == ".") {
        let message = format!("{path:?} is not an absolute path without . and ..");
        world.report.add(
            Problem::error(block.label_place(), message)
                .help(format!("write it like file \"/{}\"", path.trim_start_matches(['.', '/']))),
        );
        return None;
    }
    Some(FileCheck {
        path: path.to_owned(),
        exists: exists(world, block),
        kind: block.text("kind").map(|kind| match kind.as_str() {
            "folder" => FileKind::Folder,
            "symlink" => FileKind::Symlink,
            _ => FileKind::File,
        }),
        mode: block.text("mode"),
        owner: block.text("owner"),
        group: block.text("group"),
        size: block.size("size"),
        sha256: block.text("sha256"),
        target: block.text("target"),
        expect: expect(block),
    })
}

fn exists(world: &World<'_>, block: &Section<'_>) -> bool {
    absent_or(world, block, "exists")
}

/// A flag with which nothing else may stand when it is false: nothing can be said about what is not there.
fn absent_or(world: &World<'_>, block: &Section<'_>, flag: &str) -> bool {
    let wanted = block.flag(flag).unwrap_or(true);
    let condition = |name: &str| name == flag || name == "cmdline";
    if let Some(other) = block.entries.keys().find(|name| !wanted && !condition(name)) {
        world.report.add(
            Problem::error(block.at(other), format!("with `{flag} = false` there is no `{other}`"))
                .also(block.at(flag), "said here")
                .help("keep one of the two"),
        );
    }
    wanted
}

fn config(world: &World<'_>, block: &Section<'_>) -> ConfigCheck {
    if block.entries.is_empty() {
        let problem = Problem::error(block.place, "this `config` block expects nothing");
        world.report.add(problem.help("add what the image must say, such as user = \"app\""));
    }
    ConfigCheck {
        env: block.map("env"),
        labels: block.map("labels"),
        entrypoint: block.texts("entrypoint"),
        cmd: block.texts("cmd"),
        user: block.text("user"),
        workdir: block.text("workdir"),
        ports: block.texts("ports").unwrap_or_default(),
        volumes: block.texts("volumes").unwrap_or_default(),
    }
}

fn log(world: &World<'_>, block: &Section<'_>) -> LogCheck {
    let check =
        LogCheck { expect: expect(block), excludes: block.words("excludes"), within: block.span("within") };
    if !["contains", "matches", "excludes"].iter().any(|name| block.has(name)) {
        let problem = Problem::error(block.place, "this `log` block expects nothing");
        world.report.add(problem.help("add `contains`, `matches` or `excludes`"));
    }
    check
}

fn load(world: &World<'_>, block: &Section<'_>) -> Option<LoadCheck> {
    let duration = block.span("duration").unwrap_or(Span::from_secs(10));
    if duration.millis() == 0 || duration > LONGEST_LOAD {
        let message = format!("`duration` must be longer than nothing and at most {LONGEST_LOAD}");
        let problem = Problem::error(block.at("duration"), message);
        world.report.add(problem.help("write it like duration = \"10s\""));
    }
    Some(LoadCheck {
        get: block.text("get")?,
        port: block.named("port"),
        rate: block.whole("rate")?,
        duration,
        connections: block.whole("connections").unwrap_or(10),
        max_error_rate: block.part("max_error_rate").unwrap_or(0.0),
        max_p99: block.span("max_p99"),
    })
}
