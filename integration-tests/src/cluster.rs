//! Name servers and brokers, ours and Apache's, in a directory of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;

use crate::ports::free_port;
use crate::server::Server;
use crate::toolchain;
use crate::wait::wait_for;
use crate::wire;

const REGISTERED_TIMEOUT: Duration = Duration::from_secs(120);
const GET_BROKER_CLUSTER_INFO: i32 = 106;
/// Small files, the same for both makers, so that each can open a directory of the other.
const FILE_SIZES: &[&str] = &[
    "mappedFileSizeCommitLog=67108864",
    "mappedFileSizeConsumeQueue=600000",
    "maxHashSlotNum=50000",
    "maxIndexNum=200000",
];

/// A machine that stands still for a while, or whose disk is nearly full of other things, makes no broker refuse, remove
/// or warn: few of the clients ask again, and no test is about that. What a test says itself comes behind, and counts.
const PATIENT: &[&str] = &[
    "diskMaxUsedSpaceRatio=95",
    "diskSpaceCleanForciblyRatio=99",
    "diskSpaceWarningLevelRatio=99",
    "waitTimeMillsInSendQueue=60000",
    "waitTimeMillsInPullQueue=60000",
    "waitTimeMillsInLitePullQueue=60000",
    "waitTimeMillsInHeartbeatQueue=60000",
    "waitTimeMillsInTransactionQueue=60000",
    "waitTimeMillsInAckQueue=60000",
    "waitTimeMillsInAdminBrokerQueue=60000",
    "osPageCacheBusyTimeOutMills=60000",
];

/// For programs that try what clients can do, on a broker of either maker: everything that both have is on, and what
/// takes minutes takes seconds.
pub const FAIR_SETTINGS: &[&str] = &[
    "mappedFileSizeCommitLog=67108864",
    "mappedFileSizeConsumeQueue=600000",
    "maxHashSlotNum=50000",
    "maxIndexNum=200000",
    "enablePropertyFilter=true",
    "traceTopicEnable=true",
    "timerWheelEnable=true",
    "recallMessageEnable=true",
    "enableLmq=true",
    "enableMultiDispatch=true",
    "messageDelayLevel=1s 2s 3s 4s 5s 6s 7s 8s 9s 10s 11s 12s 13s 14s 15s 16s 17s 1h",
    "transactionCheckInterval=2000",
    "transactionTimeOut=2000",
    "transactionCheckMax=5",
    "transactionOpBatchInterval=100",
    "flushConsumerOffsetInterval=1000",
    "flushDelayOffsetInterval=1000",
];

/// One of our servers, or Apache's: they differ in the log gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    ThrustMq,
    Java,
}

#[derive(Debug)]
struct Member {
    name: String,
    maker: Maker,
    server: Server,
}

/// Servers that belong to one test. Stop it with [`Cluster::stop`]: that is where the logs are judged.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    namesrv_port: u16,
    broker_ports: Vec<u16>,
    broker_settings: &'static [&'static str],
    directory: TempDir,
}

impl Cluster {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            members: Vec::new(),
            namesrv_port: free_port()?,
            broker_ports: Vec::new(),
            broker_settings: FILE_SIZES,
            directory: tempfile::tempdir()?,
        })
    }

    /// Our name server and broker in one process.
    pub fn standalone(settings: &[&str]) -> anyhow::Result<Self> {
        let mut cluster = Self::new()?;
        let port = free_port()?;
        cluster.broker_ports.push(port);
        let command = cluster.standalone_command(settings);
        cluster.start("standalone", Maker::ThrustMq, command)?;
        cluster.wait_for_ready("standalone")?;
        Ok(cluster)
    }

    /// The command line of [`Cluster::standalone`]: to start a second one beside it is an error worth testing.
    pub fn standalone_command(&self, settings: &[&str]) -> Command {
        let ports = (self.namesrv_port, self.broker_ports[0]);
        standalone_command(self.directory.path(), ports, settings)
    }

    /// A cluster with our name server and no broker yet.
    pub fn with_our_namesrv() -> anyhow::Result<Self> {
        let mut cluster = Self::new()?;
        let mut command = Command::new(toolchain::thrustmq());
        command
            .arg("namesrv")
            .args(["--set", &format!("listenPort={}", cluster.namesrv_port)])
            .arg("--data")
            .arg(cluster.directory.path().join("namesrv"));
        cluster.start("namesrv", Maker::ThrustMq, command)?;
        cluster.wait_for_ready("namesrv")?;
        Ok(cluster)
    }

    /// A cluster with the Java name server and no broker yet; None where there is no Java.
    pub fn with_java_namesrv() -> anyhow::Result<Option<Self>> {
        let mut cluster = Self::new()?;
        let config = cluster.directory.path().join("namesrv.conf");
        fs::write(&config, format!("listenPort={}\n", cluster.namesrv_port))?;
        let Some(command) = cluster.java_server("namesrv.NamesrvStartup", &config)? else {
            return Ok(None);
        };
        cluster.start("namesrv", Maker::Java, command)?;
        let address = cluster.namesrv();
        wait_for("the Java name server", REGISTERED_TIMEOUT, || {
            Ok(wire::call(&address, GET_BROKER_CLUSTER_INFO, &[], b"").ok())
        })?;
        Ok(Some(cluster))
    }

    /// The Java name server and one Java broker, broker-a; None where there is no Java.
    pub fn java() -> anyhow::Result<Option<Self>> {
        let Some(mut cluster) = Self::with_java_namesrv()? else {
            return Ok(None);
        };
        cluster.add_java_broker("broker-a")?;
        Ok(Some(cluster))
    }

    /// What brokers that are added from now on are told, of both makers, `key=value`: file sizes and the like.
    pub fn set_broker_settings(&mut self, settings: &'static [&'static str]) {
        self.broker_settings = settings;
    }

    /// Starts our broker on a new port and waits until it is registered.
    pub fn add_our_broker(&mut self, name: &str) -> anyhow::Result<()> {
        let port = free_port()?;
        self.broker_ports.push(port);
        let command = self.our_broker_command(name, port);
        self.start(name, Maker::ThrustMq, command)?;
        self.wait_for_ready(name)?;
        self.wait_until_registered(name, port)
    }

    /// Starts our broker again, which [`Cluster::terminate`] stopped.
    pub fn restart_our_broker(&mut self, index: usize, name: &str) -> anyhow::Result<()> {
        let port = self.broker_ports[index];
        let command = self.our_broker_command(name, port);
        self.start(name, Maker::ThrustMq, command)?;
        self.wait_until_registered(name, port)
    }

    fn our_broker_command(&self, name: &str, port: u16) -> Command {
        let mut command = Command::new(toolchain::thrustmq());
        command
            .args(["broker", "-n", &self.namesrv()])
            .arg("--data")
            .arg(self.directory.path().join(name))
            .args(["--set", &format!("brokerName={name}")])
            .args(["--set", &format!("listenPort={port}")])
            .args(["--set", "brokerIP1=127.0.0.1"]);
        for setting in PATIENT.iter().chain(self.broker_settings) {
            command.args(["--set", setting]);
        }
        command
    }

    /// Starts the Java broker on a new port and waits until it is registered. Java must be there.
    pub fn add_java_broker(&mut self, name: &str) -> anyhow::Result<()> {
        let port = free_port()?;
        self.broker_ports.push(port);
        self.start_java_broker(name, port)
    }

    /// Starts a Java broker again, which [`Cluster::kill`] ended.
    pub fn restart_java_broker(&mut self, index: usize, name: &str) -> anyhow::Result<()> {
        self.start_java_broker(name, self.broker_ports[index])
    }

    fn start_java_broker(&mut self, name: &str, port: u16) -> anyhow::Result<()> {
        let store = self.directory.path().join(name);
        let config = self.directory.path().join(format!("{name}.conf"));
        let mut properties = vec![
            "brokerClusterName=DefaultCluster".to_owned(),
            format!("brokerName={name}"),
            "brokerId=0".to_owned(),
            format!("listenPort={port}"),
            "brokerIP1=127.0.0.1".to_owned(),
            format!("namesrvAddr={}", self.namesrv()),
            format!("storePathRootDir={}", store.display()),
            format!("storePathCommitLog={}", store.join("commitlog").display()),
            "enablePropertyFilter=true".to_owned(),
            // Half messages stay as they are while a test looks at them; what ends them is written at once.
            "transactionCheckInterval=600000".to_owned(),
            "transactionTimeOut=600000".to_owned(),
            "transactionOpBatchInterval=100".to_owned(),
        ];
        let settings = PATIENT.iter().chain(self.broker_settings);
        properties.extend(settings.map(|&pair| pair.to_owned()));
        fs::write(&config, properties.join("\n"))?;
        let command = self
            .java_server("broker.BrokerStartup", &config)?
            .context("a Java broker needs Java")?;
        self.start(name, Maker::Java, command)?;
        self.wait_until_registered(name, port)
    }

    fn java_server(&self, class: &str, config: &Path) -> anyhow::Result<Option<Command>> {
        let home = self.directory.path().join("home");
        fs::create_dir_all(home.join("conf"))?;
        let Some(mut command) = toolchain::java(512) else {
            return Ok(None);
        };
        command
            .env("ROCKETMQ_HOME", &home)
            .arg(format!("-Duser.home={}", home.display()))
            .arg(format!("org.apache.rocketmq.{class}"))
            .arg("-c")
            .arg(config);
        Ok(Some(command))
    }

    fn start(&mut self, name: &str, maker: Maker, command: Command) -> anyhow::Result<()> {
        let server = Server::start(command, self.directory.path(), name)?;
        self.members.push(Member {
            name: name.to_owned(),
            maker,
            server,
        });
        Ok(())
    }

    fn wait_for_ready(&mut self, name: &str) -> anyhow::Result<()> {
        self.member(name)?.server.wait_for_log("ready after")
    }

    /// Brokers say that they are up before they are registered: the name server knows. By its port, since
    /// one that was killed may be registered under the same name.
    fn wait_until_registered(&mut self, name: &str, port: u16) -> anyhow::Result<()> {
        let namesrv = self.namesrv();
        wait_for(
            &format!("{name} to be registered"),
            REGISTERED_TIMEOUT,
            || {
                let answer = wire::call(&namesrv, GET_BROKER_CLUSTER_INFO, &[], b"")?;
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                let is_there =
                    body.contains(&format!("{name:?}")) && body.contains(&format!(":{port}\""));
                Ok(is_there.then_some(()))
            },
        )
    }

    fn member(&mut self, name: &str) -> anyhow::Result<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| member.name == name)
            .with_context(|| format!("no server {name}"))
    }

    /// The server process of this name.
    pub fn server(&mut self, name: &str) -> anyhow::Result<&mut Server> {
        Ok(&mut self.member(name)?.server)
    }

    /// Stops one server in order, as [`Cluster::stop`] does for all.
    pub fn terminate(&mut self, name: &str, allowed: &[&str]) -> anyhow::Result<()> {
        let mut member = self.remove(name)?;
        if member.maker == Maker::Java {
            return member.server.terminate().map(|_| ());
        }
        finish(member, allowed)
    }

    fn remove(&mut self, name: &str) -> anyhow::Result<Member> {
        let index = self
            .members
            .iter()
            .position(|member| member.name == name)
            .with_context(|| format!("no server {name}"))?;
        Ok(self.members.remove(index))
    }

    /// Ends one server as a crash would; the log of ours is judged all the same.
    pub fn kill(&mut self, name: &str, allowed: &[&str]) -> anyhow::Result<()> {
        let mut member = self.remove(name)?;
        member.server.kill()?;
        match member.maker {
            Maker::ThrustMq => member.server.judge(allowed),
            Maker::Java => Ok(()),
        }
    }

    /// `host:port` of the name server.
    pub fn namesrv(&self) -> String {
        format!("127.0.0.1:{}", self.namesrv_port)
    }

    /// `host:port` of the broker that was added as number `index`.
    pub fn broker(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.broker_ports[index])
    }

    /// A directory that lives as long as the cluster.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Stops every server; ours must end with exit code 0 and a log without unlisted warnings.
    pub fn stop(mut self, allowed: &[&str]) -> anyhow::Result<()> {
        while let Some(member) = self.members.pop() {
            finish(member, allowed)?;
        }
        Ok(())
    }
}

/// Starts our name server and broker in one process, with its data under `directory`; the ports are those of the name
/// server and of the broker.
pub fn standalone_command(directory: &Path, ports: (u16, u16), settings: &[&str]) -> Command {
    standalone_command_of(toolchain::thrustmq(), directory, ports, settings)
}

/// As [`standalone_command`] with another binary of ours.
pub fn standalone_command_of(
    binary: &Path,
    directory: &Path,
    ports: (u16, u16),
    settings: &[&str],
) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("standalone")
        .args(["--bind", "127.0.0.1", "--advertise", "127.0.0.1"])
        .args(["--namesrv-port", &ports.0.to_string()])
        .args(["--broker-port", &ports.1.to_string()])
        .arg("--data")
        .arg(directory.join("data"));
    for setting in PATIENT.iter().chain(settings) {
        command.args(["--set", setting]);
    }
    command
}

fn finish(member: Member, allowed: &[&str]) -> anyhow::Result<()> {
    let Member {
        maker, mut server, ..
    } = member;
    match maker {
        Maker::ThrustMq => server.finish(allowed),
        // Its orderly end takes long, and is not what is tested.
        Maker::Java => server.kill(),
    }
}
