//! `check` and what stands in it.

use super::{Attribute, Block, Count, Kind, Label, attribute, block, required};

pub(super) static CHECK: Block = block(
    "check",
    Label::Text(" \"home page\""),
    Count::Unique,
    "A proof that an image works: one or more expectations, which must all hold. `kiln check` judges them all; a \
     rollout asks the `http`, `tcp` and `command` ones of a new instance again before it gets traffic. Checks with the \
     same `image`, `env` and `stand_in` blocks share one instance; `load`, `memory`, `read_only_root` and `stop` come \
     last, in this order.",
    &[
        required("image", Kind::Image, "The image to check."),
        attribute("timeout", Kind::Duration, "Time one expectation may take when it is tried. Default 10s."),
        attribute(
            "within",
            Kind::Duration,
            "An expectation that does not hold is tried again until so much time has passed. Default: tried once.",
        ),
        attribute("env", Kind::EnvMap, "Environment of the checked instance over the image's own."),
        attribute("goss", Kind::PathInside, "A goss file whose resources are expectations too."),
        attribute("structure", Kind::PathInside, "A file of container-structure-test, likewise."),
    ],
    &[
        &STAND_IN,
        &HTTP,
        &TCP,
        &COMMAND,
        &FILE,
        &USER,
        &GROUP,
        &PACKAGE,
        &CONFIG,
        &LISTENING,
        &PROCESS,
        &LOG,
        &START,
        &LOAD,
        &MEMORY,
        &READ_ONLY_ROOT,
        &STOP,
    ],
);

const EQUALS: Attribute =
    attribute("equals", Kind::Text, "All of it; one final newline more or less makes no difference.");
const CONTAINS: Attribute = attribute("contains", Kind::OneOrMore, "Text that must be in it.");
const MATCHES: Attribute = attribute(
    "matches",
    Kind::Patterns,
    "Regular expression that must find something in it; `^` and `$` are the ends of lines.",
);

static STAND_IN: Block = block(
    "stand_in",
    Label::Name,
    Count::Unique,
    "An instance of another image that takes the place of a service: the checked instance reaches it by the label's \
     name. It is started first, and the checked instance once it is healthy.",
    &[
        required("image", Kind::Image, "The image that plays the service."),
        attribute(
            "port",
            Kind::Count(1, 65535),
            "The one port under which it is reached, where the image has several. Default: all of its ports.",
        ),
        attribute("env", Kind::EnvMap, "Environment over the image's own."),
    ],
    &[],
);

static HTTP: Block = block(
    "http",
    Label::None,
    Count::Any,
    "An HTTP request to the instance: exactly one of `get`, `post` and `path`. Redirects are not followed; they are \
     answers like others. Of `equals`, `contains`, `matches` and `json`, the body is meant.",
    &[
        attribute("get", Kind::HttpPath, "The path to get."),
        attribute("post", Kind::HttpPath, "The path to post `body` to."),
        attribute("path", Kind::HttpPath, "The path, with `method`."),
        attribute(
            "method",
            Kind::Choice(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
            "The method, with `path`. Default GET.",
        ),
        attribute("port", Kind::Name, "The port. Default: the first one that speaks HTTP."),
        attribute("headers", Kind::HeaderMap, "Headers to send."),
        attribute("body", Kind::Text, "What to send."),
        attribute("status", Kind::Statuses, "The expected status, or any of several. Default 200."),
        EQUALS,
        CONTAINS,
        MATCHES,
        attribute(
            "json",
            Kind::JsonMap,
            "JSON pointers into the body and what is there: a text as it is, another value as JSON.",
        ),
        attribute("max_time", Kind::Duration, "Longest time to the end of the answer."),
    ],
    &[&HEADER],
);

static HEADER: Block = block(
    "header",
    Label::Text(" \"content-type\""),
    Count::Unique,
    "A header that the answer must have.",
    &[EQUALS, CONTAINS, MATCHES],
    &[],
);

static TCP: Block = block(
    "tcp",
    Label::None,
    Count::Any,
    "A conversation over TCP. Without expectations it is enough that the connection is accepted.",
    &[
        attribute("port", Kind::Name, "The port. Default: the first one."),
        attribute("send", Kind::Text, "Sent once connected."),
        EQUALS,
        CONTAINS,
        MATCHES,
    ],
    &[],
);

static COMMAND: Block = block(
    "command",
    Label::None,
    Count::Any,
    "A command in the instance. Of `equals`, `contains` and `matches`, its standard output is meant.",
    &[
        required("run", Kind::Command, "What to run."),
        attribute("exit", Kind::Count(0, 255), "The expected exit status. Default 0."),
        attribute("user", Kind::User, "As whom. Default: the image's user."),
        EQUALS,
        CONTAINS,
        MATCHES,
    ],
    &[&STDERR],
);

static STDERR: Block = block(
    "stderr",
    Label::None,
    Count::Once,
    "What standard error must be like.",
    &[EQUALS, CONTAINS, MATCHES],
    &[],
);

static FILE: Block = block(
    "file",
    Label::Text(" \"/etc/motd\""),
    Count::Unique,
    "A file, folder or link. What is in the image is judged by the image itself, with the owners its layers have; what \
     is in a place that instances may write to, by the instance. Links are followed, except for `kind = \"symlink\"` \
     and `target`. Of `equals`, `contains` and `matches`, the content is meant.",
    &[
        attribute("exists", Kind::Bool, "Whether it is there. Default true."),
        attribute("kind", Kind::Choice(&["file", "folder", "symlink"]), "What it is."),
        attribute("mode", Kind::Mode, "Its mode."),
        attribute("owner", Kind::Text, "Its user, by name or number."),
        attribute("group", Kind::Text, "Its group, by name or number."),
        attribute("size", Kind::Size, "Its size, exactly."),
        attribute("sha256", Kind::Sha256, "SHA-256 of its content."),
        attribute("target", Kind::Text, "Where the link leads, as it stands."),
        EQUALS,
        CONTAINS,
        MATCHES,
    ],
    &[],
);

static USER: Block = block(
    "user",
    Label::Text(" \"www-data\""),
    Count::Unique,
    "A user in the image's /etc/passwd.",
    &[
        attribute("exists", Kind::Bool, "Whether it is there. Default true."),
        attribute("uid", Kind::Count(0, 4_294_967_294), "Its number."),
        attribute("gid", Kind::Count(0, 4_294_967_294), "The number of its primary group."),
        attribute("groups", Kind::Texts, "Groups it is in, the primary one included."),
        attribute("home", Kind::AbsolutePath, "Its home folder."),
        attribute("shell", Kind::AbsolutePath, "Its login shell."),
    ],
    &[],
);

static GROUP: Block = block(
    "group",
    Label::Text(" \"ssl-cert\""),
    Count::Unique,
    "A group in the image's /etc/group.",
    &[
        attribute("exists", Kind::Bool, "Whether it is there. Default true."),
        attribute("gid", Kind::Count(0, 4_294_967_294), "Its number."),
    ],
    &[],
);

static PACKAGE: Block = block(
    "package",
    Label::Text(" \"tzdata\""),
    Count::Unique,
    "A Debian package.",
    &[
        attribute("installed", Kind::Bool, "Whether it is installed. Default true."),
        attribute("version", Kind::Text, "Exactly this version."),
    ],
    &[],
);

static CONFIG: Block = block(
    "config",
    Label::None,
    Count::Any,
    "What the image says about how to run it. Maps and the lists of ports and volumes may have more than is named here.",
    &[
        attribute("env", Kind::EnvMap, "Variables and their values."),
        attribute("labels", Kind::TextMap, "Labels and their values."),
        attribute("entrypoint", Kind::Texts, "The program and its fixed arguments, exactly."),
        attribute("cmd", Kind::Texts, "The other arguments, exactly."),
        attribute("user", Kind::Text, "The user, exactly."),
        attribute("workdir", Kind::AbsolutePath, "The working folder."),
        attribute("ports", Kind::Texts, "Exposed ports, such as \"8080/tcp\"."),
        attribute("volumes", Kind::Texts, "Paths of volumes."),
    ],
    &[],
);

static LISTENING: Block = block(
    "listening",
    Label::None,
    Count::Any,
    "A port that somebody in the instance listens on.",
    &[
        required("port", Kind::Count(1, 65535), "Its number."),
        attribute("protocol", Kind::Choice(&["tcp", "udp"]), "Its protocol. Default \"tcp\"."),
        attribute("address", Kind::Address, "The address that is listened on. Default: any."),
        attribute("listening", Kind::Bool, "Whether somebody does. Default true."),
    ],
    &[],
);

static PROCESS: Block = block(
    "process",
    Label::Text(" \"nginx\""),
    Count::Any,
    "Processes of the instance, by the name that the kernel has: the first 15 bytes of the program's file name.",
    &[
        attribute(
            "cmdline",
            Kind::Patterns,
            "Only those whose command line this regular expression finds something in.",
        ),
        attribute("running", Kind::Bool, "Whether there are any. Default true."),
        attribute("count", Kind::Count(1, 1000), "Exactly so many."),
        attribute("user", Kind::Text, "Whose they all are, by name or number."),
    ],
    &[],
);

static LOG: Block = block(
    "log",
    Label::None,
    Count::Any,
    "What the instance printed so far.",
    &[
        CONTAINS,
        MATCHES,
        attribute("excludes", Kind::OneOrMore, "Text that must not be in it."),
        attribute("within", Kind::Duration, "Instead of the check's own."),
    ],
    &[],
);

static START: Block = block(
    "start",
    Label::None,
    Count::Once,
    "How long the instance took from its start to being healthy.",
    &[required("within", Kind::Duration, "The longest time.")],
    &[],
);

static LOAD: Block = block(
    "load",
    Label::None,
    Count::Any,
    "GET requests at a constant rate. A request fails without an answer in the check's `timeout`, or with a status of \
     500 and above. Times count from when a request was due, so that a stall is not hidden.",
    &[
        required("get", Kind::HttpPath, "The path to get."),
        attribute("port", Kind::Name, "The port. Default: the first one that speaks HTTP."),
        required("rate", Kind::Count(1, 100_000), "Requests a second."),
        attribute("duration", Kind::Duration, "How long, at most 1h. Default 10s."),
        attribute("connections", Kind::Count(1, 1000), "Connections that are kept open. Default 10."),
        attribute("max_error_rate", Kind::Percent, "Requests that may fail. Default 0%."),
        attribute("max_p99", Kind::Duration, "Longest time of 99 of 100 requests to the end of the answer."),
    ],
    &[],
);

static MEMORY: Block = block(
    "memory",
    Label::None,
    Count::Once,
    "The most memory that the instance has used, after all other expectations.",
    &[required("max", Kind::Size, "The most it may be.")],
    &[],
);

static READ_ONLY_ROOT: Block = block(
    "read_only_root",
    Label::None,
    Count::Once,
    "Writing outside of /tmp, /run, /dev/shm and volumes is tried and must fail, and the program must have left no file \
     outside of `writes`.",
    &[attribute(
        "writes",
        Kind::Texts,
        "Places beside volumes for the program's files. Default: all it may write to.",
    )],
    &[],
);

static STOP: Block = block(
    "stop",
    Label::None,
    Count::Once,
    "The instance is told to stop and must end before the image's grace is over, without being killed. The last thing \
     that is expected of it.",
    &[
        attribute("within", Kind::Duration, "A shorter time."),
        attribute(
            "exit",
            Kind::Count(0, 255),
            "The exit status. Default: 0, or the end by the signal itself.",
        ),
    ],
    &[],
);
