//! `image` and what stands in it.

use super::{Block, Count, Kind, Label, attribute, block, required};

pub(super) static IMAGE: Block = block(
    "image",
    Label::Name,
    Count::Unique,
    "An image to bake. `copy` and `run` are steps and happen in the order in which they stand.",
    &[
        required(
            "base",
            Kind::Base,
            "What the image starts from: `scratch`, `debian(\"bookworm\")` or `oci(\"reference\")`.",
        ),
        attribute("packages", Kind::Packages, "Debian packages, with `=version` to pin one."),
        attribute("run", Kind::Lines, "Command lines to run in the build sandbox, without network."),
        attribute("env", Kind::EnvMap, "Environment of the instances and of the `run` steps."),
        attribute("user", Kind::User, "Who the program runs as. Default root."),
        attribute("workdir", Kind::AbsolutePath, "The program's working folder. Default /."),
        attribute("entrypoint", Kind::Argv, "The program and its fixed arguments."),
        attribute("cmd", Kind::Texts, "Arguments that a service's `args` replaces."),
        attribute("labels", Kind::TextMap, "OCI labels."),
        attribute(
            "epoch",
            Kind::Count(0, 253_402_300_799),
            "Time of every file in the image, seconds since 1970. Default: SOURCE_DATE_EPOCH, then the lock's.",
        ),
        attribute("source_date", Kind::Timestamp, "The same as `epoch`, written as date and time."),
    ],
    &[&COPY, &RUN, &PORT, &HEALTH, &STOP, &VOLUME],
);

static COPY: Block = block(
    "copy",
    Label::Text(" \"app/\""),
    Count::Any,
    "Puts files of the spec's folder into the image. The label is a file, a folder (its content, with `/` at the end) \
     or a glob.",
    &[
        required("to", Kind::AbsolutePath, "Where to; with `/` at the end it is a folder."),
        attribute("mode", Kind::Mode, "Mode of the files. Default 0755 for programs, 0644 for others."),
        attribute("owner", Kind::User, "Owner of the files. Default root."),
        attribute("exclude", Kind::Texts, "Globs to leave out, beside those in `.kilnignore`."),
        attribute(
            "image",
            Kind::Image,
            "Takes the files from another image instead; the label is then absolute.",
        ),
    ],
    &[],
);

static RUN: Block = block(
    "run",
    Label::Optional(" \"compile\""),
    Count::Any,
    "One command in the build sandbox, with more to say about it.",
    &[
        required("command", Kind::Command, "What to run."),
        attribute("network", Kind::Bool, "Whether it may use the network. Default false."),
        attribute("env", Kind::EnvMap, "Environment of this step only."),
        attribute("workdir", Kind::AbsolutePath, "Its working folder. Default /."),
        attribute("timeout", Kind::Duration, "How long it may take."),
    ],
    &[],
);

static PORT: Block = block(
    "port",
    Label::Name,
    Count::Unique,
    "A port that the program listens on.",
    &[
        required("number", Kind::Count(1, 65535), "Its number."),
        attribute("protocol", Kind::Choice(&["http", "h2c", "tcp"]), "What it speaks. Default \"http\"."),
    ],
    &[],
);

static HEALTH: Block = block(
    "health",
    Label::None,
    Count::Once,
    "How to tell that an instance is healthy: exactly one of `http`, `tcp` and `command`. Without the block an \
     instance is healthy once its first port accepts a connection.",
    &[
        attribute("http", Kind::HttpPath, "A path whose answer is 200 to 399."),
        attribute("tcp", Kind::PortOrTrue, "A port that accepts a connection."),
        attribute("command", Kind::Command, "A command in the instance that exits with 0."),
        attribute("port", Kind::Name, "The port for `http`. Default: the first one."),
        attribute("interval", Kind::Duration, "Time between two probes. Default 1s."),
        attribute("timeout", Kind::Duration, "Time one probe may take. Default 1s."),
        attribute("rise", Kind::Count(1, 1000), "Successes in a row that make it healthy. Default 1."),
        attribute("fall", Kind::Count(1, 1000), "Failures in a row that make it unhealthy. Default 3."),
        attribute(
            "grace",
            Kind::Duration,
            "Time after the start in which failures do not count. Default 30s.",
        ),
    ],
    &[],
);

static STOP: Block = block(
    "stop",
    Label::None,
    Count::Once,
    "How to stop an instance.",
    &[
        attribute("signal", Kind::Signal, "What it is told. Default SIGTERM."),
        attribute("grace", Kind::Duration, "How long it may take before it is killed. Default 10s."),
    ],
    &[],
);

static VOLUME: Block = block(
    "volume",
    Label::Name,
    Count::Unique,
    "A folder that instances may write to. It is kept when the service has a `volume` block of the same name.",
    &[
        required("path", Kind::AbsolutePath, "Where it is in the instance."),
        attribute("size", Kind::Size, "Its upper limit, where one can be kept."),
    ],
    &[],
);
