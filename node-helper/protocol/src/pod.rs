//! What kpexec puts into the helper pod, or gives to a helper of its own, and
//! the helper looks for there.

/// The role of the helper's main process.
pub const WAIT: &str = "wait";

/// The role that is started by exec, one per client.
pub const SERVE: &str = "serve";

/// The role that kpexec starts itself, on the node: it serves one client on its
/// stdin and stdout.
pub const LOCAL: &str = SERVE;

/// The role that ends what is left of sessions whose helper was killed.
pub const SWEEP: &str = "sweep";

/// The role of the init container, where there is a tools container.
pub const PREPARE: &str = "prepare";

/// The role of the tools container.
pub const HOLD: &str = "hold";

/// Name of the tools container.
pub const TOOLS_CONTAINER: &str = "tools";

/// Where the containers have the volume that [`PREPARE`] fills for [`HOLD`].
pub const HOLD_FOLDER: &str = "/.kpexec-hold";

/// The variable with the UID of the helper's pod, if that has a tools container.
pub const TOOLS_POD: &str = "KPEXEC_TOOLS_POD";

/// The variable with the path of the CRI socket, as the helper sees it.
pub const CRI_SOCKET: &str = "KPEXEC_CRI_SOCKET";

/// The variable with the toolset's folder. Empty: there is none.
pub const TOOLSET: &str = "KPEXEC_TOOLSET";

/// The variable with the seconds that the helper stays without a session.
pub const IDLE_SECONDS: &str = "KPEXEC_IDLE_SECONDS";
