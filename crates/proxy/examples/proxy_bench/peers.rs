//! The proxies under test, and the instances behind them.

use std::error::Error;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln_model::{InstanceId, Protocol, Span, Sticky, UpgradedDrain};
use kiln_proxy::{
    Backend, Bind, Certificate, Endpoint, Fleet, Instance, Listener, Mirror, Mode, ProxyClient, ProxyConfig,
    Route, RouteTable,
};

/// Makes this program a data plane with this folder.
pub(crate) const SERVE: &str = "KILN_PROXY_BENCH_FOLDER";

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Kiln,
    /// Kiln with a new cookie for every request: the most that `sticky` can cost.
    KilnCookie,
    /// Kiln keeping clients by a header that all requests have.
    KilnHeader,
    /// Kiln with a copy of every tenth request of the first fleet.
    KilnMirror,
    Haproxy,
    Nginx,
}

/// Where a proxy listens on 127.0.0.1.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) tls: u16,
    pub(crate) http2: u16,
}

/// A running proxy; killed when dropped.
pub(crate) struct Running {
    pub(crate) ports: Ports,
    process: Process,
    /// nginx works in a child of its master.
    worker: u32,
}

/// A process; killed when dropped.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's master takes its workers along on SIGTERM only.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Serves until stopped.
pub(crate) fn serve(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut config = ProxyConfig::new(folder.join("kiln"), folder.join("kiln.sock"));
    config.threads = 1;
    config.lame_duck = Duration::ZERO;
    Ok(kiln_proxy::run(config)?)
}

/// Starts two instances, 90 % and 10 % of the requests.
pub(crate) fn start_instances(folder: &Path) -> Result<Process, Box<dyn Error>> {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["bench.test".to_owned()])?;
    std::fs::write(folder.join("cert.pem"), cert.pem())?;
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem())?;
    std::fs::write(folder.join("both.pem"), cert.pem() + &signing_key.serialize_pem())?;
    let (first, second) = (free_port()?, free_port()?);
    std::fs::write(folder.join("ports"), format!("{first} {second}"))?;
    let servers = format!(
        "server {{ listen 127.0.0.1:{first}; location / {{ return 200 \"hello from an instance\"; }} }}
         server {{ listen 127.0.0.1:{second}; location / {{ return 200 \"hello from an instance\"; }} }}"
    );
    let process = nginx(folder, "instances", &servers, "0")?;
    wait_for(first)?;
    Ok(process)
}

impl Running {
    /// Starts a proxy on processor 1.
    pub(crate) fn start(peer: Peer, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let ports = Ports { http: free_port()?, tls: free_port()?, http2: free_port()? };
        let instances = std::fs::read_to_string(folder.join("ports"))?;
        let instances: Vec<u16> = instances.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let process = match peer {
            Peer::Kiln | Peer::KilnCookie | Peer::KilnHeader | Peer::KilnMirror => {
                kiln(peer, folder, ports, &instances)?
            }
            Peer::Haproxy => haproxy(folder, ports, &instances)?,
            Peer::Nginx => nginx(folder, "proxy", &nginx_proxy(folder, ports, &instances), "1")?,
        };
        wait_for(ports.http2)?;
        let pid = process.0.id();
        let child = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let worker = child.split_whitespace().next().map_or(Ok(pid), str::parse)?;
        Ok(Self { ports, process, worker })
    }

    /// Processor time so far in seconds.
    pub(crate) fn processor_time(&self) -> Result<f64, Box<dyn Error>> {
        let mut sum = 0.0;
        for pid in [self.process.0.id(), self.worker] {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
            // utime and stime (proc_pid_stat(5)) in ticks of 10 ms.
            sum += (fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0;
            if self.worker == self.process.0.id() {
                break;
            }
        }
        Ok(sum)
    }

    /// Peak resident memory in megabytes.
    pub(crate) fn peak_memory(&self) -> Result<f64, Box<dyn Error>> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.worker))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        Ok(line.split_whitespace().next().unwrap_or("0").parse::<f64>()? / 1e3)
    }
}

fn kiln(peer: Peer, folder: &Path, ports: Ports, instances: &[u16]) -> Result<Process, Box<dyn Error>> {
    let _ = std::fs::remove_dir_all(folder.join("kiln"));
    let _ = std::fs::remove_file(folder.join("kiln.sock"));
    let program = std::env::current_exe()?;
    let mut command = Command::new("taskset");
    let process = Process(command.args(["-c", "1"]).arg(program).env(SERVE, folder).spawn()?);
    let table = table(peer, folder, ports, instances)?;
    let client = ProxyClient::new(folder.join("kiln.sock"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begun = Instant::now();
    while let Err(error) = runtime.block_on(client.put_table(&table)) {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(process)
}

fn table(peer: Peer, folder: &Path, ports: Ports, instances: &[u16]) -> Result<RouteTable, Box<dyn Error>> {
    let fleet = |(at, port): (usize, &u16)| {
        let addr = SocketAddr::from(([127, 0, 0, 1], *port));
        let id = InstanceId(format!("bench-{at}"));
        let instances = vec![Instance { id, endpoint: Endpoint::Tcp { addr } }];
        let id = format!("bench/web/{}", at + 1).parse()?;
        Ok(Fleet { id, weight: if at == 0 { 90 } else { 10 }, instances, draining: Vec::new() })
    };
    let backend = Backend {
        protocol: Protocol::Http,
        fleets: instances.iter().enumerate().map(fleet).collect::<Result<_, Box<dyn Error>>>()?,
        preview: None,
        request_timeout: Span::from_secs(60),
        idle_timeout: Span::from_secs(300),
        upgraded: UpgradedDrain::Wait,
        sticky: match peer {
            Peer::KilnCookie => {
                Some(Sticky::Cookie { name: "lane".to_owned(), max_age: Span::from_secs(86_400) })
            }
            Peer::KilnHeader => Some(Sticky::Header { name: "host".to_owned() }),
            _ => None,
        },
        testers: Vec::new(),
        mirror: match peer {
            Peer::KilnMirror => Some(Mirror { fleet: "bench/web/2".parse()?, percent: 10 }),
            _ => None,
        },
        hold: Span::default(),
    };
    let certificate = Certificate { chain: folder.join("cert.pem"), key: folder.join("key.pem") };
    let listener = |port, tls| Listener {
        bind: Bind::Tcp { addr: SocketAddr::from(([127, 0, 0, 1], port)) },
        mode: Mode::Http { tls, routes: vec![Route { host: None, path: "/".into(), backend: "web".into() }] },
    };
    Ok(RouteTable {
        version: 1,
        listeners: vec![
            listener(ports.http, Vec::new()),
            listener(ports.tls, vec![certificate]),
            listener(ports.http2, Vec::new()),
        ],
        backends: [("web".to_owned(), backend)].into(),
    })
}

fn haproxy(folder: &Path, ports: Ports, instances: &[u16]) -> Result<Process, Box<dyn Error>> {
    let config = format!(
        "global\n nbthread 1\n tune.ssl.default-dh-param 2048\n\
         defaults\n mode http\n timeout client 300s\n timeout server 60s\n timeout connect 5s\n option forwardfor\n \
         http-reuse always\n\
         frontend web\n bind 127.0.0.1:{}\n bind 127.0.0.1:{} ssl crt {}/both.pem alpn h2,http/1.1\n \
         bind 127.0.0.1:{} proto h2\n http-request set-header X-Forwarded-Proto http\n \
         http-request set-header X-Forwarded-Host %[req.hdr(host)]\n default_backend web\n\
         backend web\n server a 127.0.0.1:{} weight 90\n server b 127.0.0.1:{} weight 10\n",
        ports.http,
        ports.tls,
        folder.display(),
        ports.http2,
        instances[0],
        instances[1],
    );
    let path = folder.join("haproxy.cfg");
    std::fs::write(&path, config)?;
    let mut command = Command::new("taskset");
    command.args(["-c", "1", "haproxy", "-db", "-f"]).arg(&path).stderr(Stdio::null()).stdout(Stdio::null());
    Ok(Process(command.spawn()?))
}

fn nginx_proxy(folder: &Path, ports: Ports, instances: &[u16]) -> String {
    format!(
        "upstream web {{ server 127.0.0.1:{a} weight=90; server 127.0.0.1:{b} weight=10; keepalive 128;
                         keepalive_requests 100000000; }}
         server {{ listen 127.0.0.1:{http}; listen 127.0.0.1:{http2} http2; listen 127.0.0.1:{tls} ssl http2;
                   ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
                   location / {{ proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection \"\";
                     proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                     proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; }} }}",
        a = instances[0],
        b = instances[1],
        http = ports.http,
        http2 = ports.http2,
        tls = ports.tls,
        dir = folder.display(),
    )
}

/// Starts nginx with one worker on one processor.
fn nginx(folder: &Path, name: &str, servers: &str, processor: &str) -> Result<Process, Box<dyn Error>> {
    let dir = folder.join(name);
    std::fs::create_dir_all(&dir)?;
    let config = format!(
        "daemon off; worker_processes 1; worker_rlimit_nofile 20000; error_log /dev/null crit; pid {dir}/pid;
         events {{ worker_connections 8000; }}
         http {{ access_log off; keepalive_requests 100000000;
                 client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
                 uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; {servers} }}",
        dir = dir.display(),
    );
    let path = dir.join("nginx.conf");
    std::fs::write(&path, config)?;
    let mut command = Command::new("taskset");
    command.args(["-c", processor, "nginx", "-c"]).arg(&path).stderr(Stdio::null());
    Ok(Process(command.spawn()?))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_for(port: u16) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("nobody listens on port {port}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
