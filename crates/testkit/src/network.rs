//! What a home leaves on the machine when its control plane is killed: a bridge, a table of rules, control groups. Nobody
//! else would ever remove them, and the kernel has room for no more than 1,024 tables that translate addresses.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Removes the network of a home in which nothing runs any more, where one was made.
pub fn remove_network(home: &Path) {
    let text = fs::read(home.join("network.json")).unwrap_or_default();
    let Ok(network) = serde_json::from_slice::<serde_json::Value>(&text) else { return };
    let Some(bridge) = network["name"].as_str() else { return };
    for controller in ["", "memory", "cpu", "pids"] {
        let folder = bridge.replacen("kiln", "kiln-", 1);
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(controller).join(folder));
    }
    if Path::new("/sys/class/net").join(bridge).exists() {
        run(&["ip", "link", "delete", bridge]);
    }
    // Kiln takes it along with the bridge; where that was removed by others, the table is there all the same.
    run(&["nft", "delete", "table", "ip", bridge]);
}

/// What is not there, neither rule nor tool, need not be removed.
fn run(words: &[&str]) {
    let mut command = Command::new(words[0]);
    let _ =
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}
