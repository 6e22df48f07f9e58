//! A client of `node-helper serve`, and a session run to its end.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper_util::rt::TokioIo;
use kpexec_protocol::client_message::Kind as Request;
use kpexec_protocol::helper_client::HelperClient;
use kpexec_protocol::pod::SERVE;
use kpexec_protocol::server_message::Kind as Answer;
use kpexec_protocol::{
    ClientMessage, Eof, Id, Identity, ServerMessage, Start, Terminal, WindowSize, exit, id,
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::fake_container::FakeContainer;
use crate::fake_runtime::{self, Answer as RuntimeAnswer};
use crate::processes;
use crate::programs::{install, link_into};

/// The capabilities of profile `general`: containerd's defaults and SYS_PTRACE.
pub const GENERAL: u64 = 0xa804_25fb | 1 << 19;

/// CAP_BLOCK_SUSPEND, which a session has when nothing else shields it.
pub const SHIELD: u64 = 1 << 36;

/// An identity of numbers, with exactly these capabilities.
pub fn exactly(uid: u32, gid: u32, capabilities: u64) -> Identity {
    let number = |number| Some(Id { kind: Some(id::Kind::Number(number)) });
    Identity {
        user: number(uid),
        group: number(gid),
        add: capabilities,
        drop: u64::MAX,
        ..Identity::default()
    }
}

/// How a session ended, and what it wrote.
#[derive(Debug, Default)]
pub struct Outcome {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub code: Option<u32>,
    pub signal: Option<u32>,
    pub failure: Option<kpexec_protocol::Failure>,
    /// Of the session's start.
    pub notices: Vec<String>,
    /// Who it was, as the helper told.
    pub identity: String,
    /// Of its end.
    pub last_notices: Vec<String>,
    /// What it changed, as a tar.
    pub changes: Vec<u8>,
}

impl Outcome {
    /// stdout, without the last line's end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

/// A fake container, a fake runtime and a real helper.
pub struct Node {
    pub container: FakeContainer,
    pub runtime: Arc<Mutex<RuntimeAnswer>>,
    pub helper: Child,
    pub client: HelperClient<Channel>,
    /// What the helper has written to stderr.
    said: Arc<Mutex<String>>,
    /// Holds the runtime's socket and the toolset.
    pub folder: TempDir,
    /// The tools container, where the tools are another image's.
    pub tools: Option<FakeContainer>,
}

/// The UID of the helper's own pod.
const HELPER_POD: &str = "1111-3333";

impl Node {
    pub async fn start() -> Result<Self> {
        Self::around(FakeContainer::start()?, &[]).await
    }

    /// A helper for this container, started by way of `wrapper`: a program and
    /// arguments that execute what follows them.
    pub async fn around(container: FakeContainer, wrapper: &[String]) -> Result<Self> {
        Self::beside(container, wrapper, None).await
    }

    /// The same, with the tools of another container.
    pub async fn with_tools(tools: FakeContainer) -> Result<Self> {
        Self::beside(FakeContainer::start()?, &[], Some(tools)).await
    }

    async fn beside(
        container: FakeContainer,
        wrapper: &[String],
        tools: Option<FakeContainer>,
    ) -> Result<Self> {
        let folder = TempDir::new()?;
        let mut answer = RuntimeAnswer::running(container.id()?, container.pid);
        answer.seccomp = container.seccomp.clone();
        let its_tools = |tools: &FakeContainer| -> Result<_> {
            Ok(Box::new(RuntimeAnswer::tools(tools.id()?, tools.pid, HELPER_POD)))
        };
        answer.tools = tools.as_ref().map(its_tools).transpose()?;
        let runtime = Arc::new(Mutex::new(answer));
        let socket = folder.path().join("cri.sock");
        fake_runtime::serve(&socket, runtime.clone())?;
        let toolset = folder.path().join("toolset");
        make_toolset(&toolset)?;
        let mut helper = helper_command(&container, wrapper, SERVE)
            .envs(tools.as_ref().map(|_| ("KPEXEC_TOOLS_POD", HELPER_POD)))
            .env("KPEXEC_CRI_SOCKET", &socket)
            .env("KPEXEC_HELPER_POD", "helpers/kpexec-1")
            .env("KPEXEC_TOOLSET_FOLDER", &toolset)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start node-helper")?;
        let said = listen(helper.stderr.take().context("no stderr")?);
        let input = helper.stdout.take().context("no stdout")?;
        let output = helper.stdin.take().context("no stdin")?;
        let client = connect(input, output).await?;
        Ok(Self { container, runtime, helper, client, said, folder, tools })
    }

    /// What the helper has written to stderr so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("no test panics while it holds this").clone()
    }

    /// Whether the helper has said on stderr that its sessions have no cgroup.
    pub fn is_without_cgroups(&self) -> bool {
        self.said().contains("has no cgroup")
    }

    /// How the names of the helper's cgroups begin.
    pub fn cgroups(&self) -> Result<String> {
        processes::cgroups_of(self.helper.id().context("the helper has ended")?.cast_signed())
    }

    /// A request for `argv` as root with the general capabilities.
    pub fn request(&self, argv: &[&str]) -> Start {
        request(&self.runtime, argv)
    }

    /// Opens a session: where to send, where answers come from.
    pub async fn open(
        &self,
        start: Start,
    ) -> Result<(mpsc::Sender<ClientMessage>, Streaming<ServerMessage>)> {
        open(&self.client, start).await
    }

    /// Runs a request to its end, feeding it `stdin`.
    pub async fn run(&self, start: Start, stdin: &[u8]) -> Result<Outcome> {
        let (requests, answers) = self.open(start).await?;
        let stdin = stdin.to_vec();
        let feeding = tokio::spawn(async move {
            for chunk in stdin.chunks(kpexec_protocol::CHUNK) {
                requests.send(message(Request::Stdin(chunk.to_vec().into()))).await?;
            }
            requests.send(message(Request::Eof(Eof {}))).await?;
            // Held open until the session ends, as a client does.
            requests.closed().await;
            anyhow::Ok(())
        });
        let outcome = collect(answers).await;
        feeding.abort();
        outcome
    }

    /// Runs a command as root and gives its stdout.
    pub async fn output(&self, argv: &[&str]) -> Result<String> {
        let outcome = self.run(self.request(argv), b"").await?;
        match outcome.code {
            Some(0) => Ok(outcome.text()),
            _ => bail!("{argv:?} gave {outcome:?}"),
        }
    }
}

/// A request to this runtime's container for `argv` as root with the general
/// capabilities.
pub fn request(runtime: &Mutex<RuntimeAnswer>, argv: &[&str]) -> Start {
    let target = runtime.lock().expect("no test panics while it holds this").target();
    Start {
        target: Some(target),
        identity: Some(Identity::default()),
        argv: argv.iter().map(|argument| argument.as_bytes().to_vec().into()).collect(),
        ..Start::default()
    }
}

/// Opens a session: where to send, where answers come from.
pub async fn open(
    client: &HelperClient<Channel>,
    start: Start,
) -> Result<(mpsc::Sender<ClientMessage>, Streaming<ServerMessage>)> {
    let (requests, receiver) = mpsc::channel(4);
    requests.send(message(Request::Start(start))).await?;
    let mut client = client.clone();
    let answers = client.session(ReceiverStream::new(receiver)).await?.into_inner();
    Ok((requests, answers))
}

/// Wraps one message.
pub fn message(kind: Request) -> ClientMessage {
    ClientMessage { kind: Some(kind) }
}

/// A terminal of this size.
pub fn terminal(rows: u32, columns: u32) -> Terminal {
    Terminal { size: Some(WindowSize { rows, columns }), term: "xterm".into() }
}

/// Reads a session's answers to their end; bounded, because a test must not
/// hang.
pub async fn collect(mut answers: Streaming<ServerMessage>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let read = async {
        while let Some(answer) = answers.message().await? {
            match answer.kind {
                Some(Answer::Stdout(bytes)) => outcome.stdout.extend_from_slice(&bytes),
                Some(Answer::Stderr(bytes)) => outcome.stderr.extend_from_slice(&bytes),
                Some(Answer::Failure(failure)) => outcome.failure = Some(failure),
                Some(Answer::Changes(bytes)) => outcome.changes.extend_from_slice(&bytes),
                Some(Answer::Exit(exit)) => {
                    outcome.last_notices = exit.notices;
                    match exit.status {
                        Some(exit::Status::Code(code)) => outcome.code = Some(code),
                        Some(exit::Status::Signal(signal)) => outcome.signal = Some(signal),
                        None => bail!("an exit without a status"),
                    }
                }
                Some(Answer::Started(started)) => {
                    outcome.notices = started.notices;
                    outcome.identity = started.identity;
                }
                Some(Answer::StdinTaken(_) | Answer::Detached(_)) => {}
                None => bail!("an empty answer"),
            }
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(120), read).await.context("the session hangs")??;
    Ok(outcome)
}

/// busybox stands in for the toolset: what counts here is where it is.
pub fn make_toolset(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("bin"))?;
    install(Path::new("/bin/busybox"), &folder.join("bin/busybox"))?;
    for applet in [
        "cat", "chmod", "echo", "env", "grep", "head", "id", "ls", "mkdir", "ps", "pwd",
        "readlink", "sh", "sleep", "stty", "test", "touch", "tty", "true", "wc", "hostname",
        "kill",
    ] {
        symlink("busybox", folder.join("bin").join(applet))?;
    }
    // What a session uses to look at itself. Not among the tools: some attack.
    fs::create_dir(folder.join("attacks"))?;
    link_into(&folder.join("attacks"))
}

/// The helper in this role. Root runs it as it is; others in the container's user
/// namespace, with mounts of its own, where they hold every capability.
pub fn helper_command(container: &FakeContainer, wrapper: &[String], role: &str) -> Command {
    let helper = env!("CARGO_BIN_EXE_node-helper");
    let mut command = if let [program, arguments @ ..] = wrapper {
        let mut command = Command::new(program);
        command.args(arguments).arg(helper);
        command
    } else if rustix::process::geteuid().is_root() {
        Command::new(helper)
    } else {
        let mut command = Command::new("nsenter");
        command.arg(format!("--user={}", container.user_namespace()));
        command.args(["--preserve-credentials", "unshare", "--mount", helper]);
        command
    };
    command.arg(role);
    command
}

/// Collects what the helper says, and shows it.
fn listen(stderr: ChildStderr) -> Arc<Mutex<String>> {
    let said = Arc::new(Mutex::new(String::new()));
    let collected = said.clone();
    tokio::spawn(async move {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("{line}");
            *collected.lock().expect("no test panics while it holds this") += &(line + "\n");
        }
    });
    said
}

/// Speaks to a helper over its streams.
pub async fn connect(
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<HelperClient<Channel>> {
    let mut connection = Some(tokio::io::join(input, output));
    let connector = tower::service_fn(move |_| {
        let connection = connection.take();
        async move {
            connection.map(TokioIo::new).ok_or_else(|| std::io::Error::other("connected once"))
        }
    });
    let channel = Endpoint::from_static("http://helper").connect_with_connector(connector).await?;
    Ok(HelperClient::new(channel))
}
