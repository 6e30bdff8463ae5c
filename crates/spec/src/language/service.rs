//! `service` and what stands in it.

use super::rollout::ROLLOUT;
use super::{Attribute, Block, Count, Kind, Label, attribute, block, required};

pub(super) static SERVICE: Block = block(
    "service",
    Label::Name,
    Count::Unique,
    "Identical instances of an image behind the proxy. Other services reach it at `http://name:port/`.",
    &[
        required("image", Kind::Image, "The image it runs."),
        attribute("replicas", Kind::Count(0, 1000), "How many instances. Default 1."),
        attribute("env", Kind::EnvMap, "Environment over the image's own."),
        attribute("args", Kind::Texts, "Arguments instead of the image's `cmd`."),
        attribute("depends_on", Kind::Services, "Services that are deployed before this one."),
        attribute(
            "max_disrupted",
            Kind::Amount,
            "Instances that may be away at once, over all causes; a percentage rounds down, to no less than one. \
             Default \"25%\".",
        ),
        Attribute {
            without_effect: true,
            ..attribute("max_lifetime", Kind::Duration, "Instances older than this are replaced.")
        },
    ],
    &[&EXPOSE, &VOLUME, &LIMITS, &ROLLOUT, &TRAFFIC, &SECRET],
);

static EXPOSE: Block = block(
    "expose",
    Label::Name,
    Count::Any,
    "Makes a port of the image reachable through the proxy. The label is the port's name.",
    &[
        attribute(
            "listen",
            Kind::Count(1, 65535),
            "The proxy's port. Default 8080, with `tls` 8443, for a TCP port its own number.",
        ),
        attribute("address", Kind::Address, "The address the proxy listens on. Default 127.0.0.1."),
        attribute("host", Kind::HostName, "The host name to serve, also `*.example.com`. Default: any."),
        attribute("path", Kind::HttpPath, "The path to serve, with all below it. Default /."),
    ],
    &[&TLS],
);

static TLS: Block = block(
    "tls",
    Label::None,
    Count::Once,
    "Serves HTTPS.",
    &[
        required("certificate", Kind::LocalFile, "PEM file with the certificate chain, leaf first."),
        required("key", Kind::LocalFile, "PEM file with the private key."),
    ],
    &[],
);

static VOLUME: Block = block(
    "volume",
    Label::Name,
    Count::Unique,
    "Keeps a volume of the image. Without it the volume is empty at every start.",
    &[
        attribute("host_path", Kind::AbsolutePath, "A folder of the host instead of one that Kiln keeps."),
        attribute("read_only", Kind::Bool, "Whether instances may only read it. Default false."),
    ],
    &[],
);

static LIMITS: Block = block(
    "limits",
    Label::None,
    Count::Once,
    "What one instance may use.",
    &[
        attribute("memory", Kind::Size, "Memory and swap together. Default: no limit."),
        attribute("cpu", Kind::Cpu, "Processors, such as 0.5. Default: no limit."),
        attribute("pids", Kind::Count(1, 4_194_304), "Processes and threads. Default 4096."),
    ],
    &[],
);

static TRAFFIC: Block = block(
    "traffic",
    Label::None,
    Count::Once,
    "How requests are treated on their way.",
    &[
        attribute(
            "request_timeout",
            Kind::Duration,
            "Time to the head of the response. Default 60s; 0s is no limit.",
        ),
        attribute(
            "idle_timeout",
            Kind::Duration,
            "Time a connection may be silent. Default 5m; 0s is no limit.",
        ),
        attribute(
            "upgraded",
            Kind::Choice(&["wait", "close"]),
            "Whether WebSockets of the old release may go on until the drain deadline. Default \"wait\".",
        ),
        attribute(
            "preview_header",
            Kind::Text,
            "The header that reaches a release without traffic. Default kiln-preview.",
        ),
        attribute("preview_host", Kind::HostName, "The host name that does."),
        attribute(
            "hold",
            Kind::Duration,
            "While no instance can take a request, requests wait so long for one; then they are answered 503. Default 30s \
             with rollout \"recreate\", otherwise 0s: at once.",
        ),
    ],
    &[],
);

/// Where a secret is and how it is handed over.
static SECRET: Block = block(
    "secret",
    Label::Text(" \"DATABASE_URL\""),
    Count::Unique,
    "A secret that instances get when they start: an environment variable, or a file in memory. Spec, image and release \
     hold where it is, never the value.",
    &[
        attribute(
            "from",
            Kind::Text,
            "Where it is: `file:///path` (`file:path` below the spec's folder), `env://NAME` of the control plane's own \
             environment, or `vault://mount/path#field`, with `?version=3` before the `#` for that version. May be left \
             out where every environment that is deployed to says it.",
        ),
        attribute(
            "as",
            Kind::Choice(&["env", "file"]),
            "`env`: a variable of the block's name; `file`: /run/secrets/ and the block's name. Default \"env\".",
        ),
    ],
    &[],
);

/// Where services' secrets are in one environment.
pub(super) static SECRET_HERE: Block = block(
    "secret",
    Label::Text(" \"DATABASE_URL\""),
    Count::Unique,
    "Where the secret of this name is here, for every service that has one.",
    &[required("from", Kind::Text, "Where it is, as in a service's `secret`.")],
    &[],
);
