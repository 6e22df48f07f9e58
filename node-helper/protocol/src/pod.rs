//! What kpexec puts into the helper pod, and the helper looks for there.

/// The role of the helper's main process.
pub const SUPERVISE: &str = "supervise";

/// The role that is started by exec, one per client: it hands the client over to
/// the main process. An argument names a session to come back to.
pub const CONNECT: &str = "connect";

/// The role that is started by exec to list the helper's sessions on stdout, a
/// JSON object in each line.
pub const LIST: &str = "list";

/// The role that serves one client on stdin and stdout, without a main process.
pub const SERVE: &str = "serve";

/// The role of the init container, where there is a tools container.
pub const PREPARE: &str = "prepare";

/// The role of the tools container.
pub const HOLD: &str = "hold";

/// Name of the tools container.
pub const TOOLS_CONTAINER: &str = "tools";

/// Where the containers have the volume that [`PREPARE`] fills for [`HOLD`].
pub const HOLD_FOLDER: &str = "/.kpexec-hold";

/// Where the main process mounts a file system of its own.
pub const RUN_FOLDER: &str = "/.kpexec-run";

/// The socket in it.
pub const SOCKET: &str = "socket";

/// The variable with the UID of the helper's pod, if that has a tools container.
pub const TOOLS_POD: &str = "KPEXEC_TOOLS_POD";

/// The variable with the path of the CRI socket, as the helper sees it.
pub const CRI_SOCKET: &str = "KPEXEC_CRI_SOCKET";

/// The variable with the seconds that the helper stays without a session.
pub const IDLE_SECONDS: &str = "KPEXEC_IDLE_SECONDS";
