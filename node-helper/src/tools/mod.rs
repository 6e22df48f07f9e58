//! Where the session's tools stand, and which programs are ours.

pub mod files;

pub use files::ToolFiles;
use tools_overlay::{MOUNT_POINT, TARGET};

/// The tools of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tools {
    /// The helper image's own, at `/.kpexec`.
    Toolset,
    /// None: a node that kpexec itself runs on need not have any.
    Nothing,
    /// Those of another image, whose root is at `/.kpexec`: the folders of its
    /// `PATH`, as itself sees them.
    Image(Vec<Vec<u8>>),
    /// Those of another image, whose root is the session's: the folders of its
    /// `PATH`.
    Root(Vec<Vec<u8>>),
}

impl Tools {
    /// Those of an image with this `PATH`, whose root is the session's or not.
    pub fn image(path: &str, root: bool) -> Self {
        let folders = path.split(':').filter(|folder| folder.starts_with('/'));
        let folders = folders.map(|folder| folder.as_bytes().to_vec()).collect();
        if root { Self::Root(folders) } else { Self::Image(folders) }
    }

    /// Whether the session's root is theirs.
    pub fn is_root(&self) -> bool {
        matches!(self, Self::Root(_))
    }

    /// The folders with programs of ours, as the session sees them.
    pub fn folders(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Toolset => vec![below_mount_point(b"/bin")],
            Self::Nothing => Vec::new(),
            Self::Image(folders) => folders.iter().map(|path| below_mount_point(path)).collect(),
            Self::Root(folders) => folders.clone(),
        }
    }

    /// The session's `PATH`, given the target's.
    pub fn path(&self, target: &str) -> Vec<u8> {
        let mut folders = self.folders();
        if !self.is_root() {
            folders.push(target.as_bytes().to_vec());
        }
        folders.join(&b':')
    }

    /// What programs start for a shell, where it is known to be one.
    pub fn shell(&self) -> Option<Vec<u8>> {
        match self {
            Self::Toolset => Some(below_mount_point(b"/bin/bash")),
            Self::Nothing | Self::Image(_) | Self::Root(_) => None,
        }
    }

    /// Where they come from, in words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Toolset | Self::Nothing => "the toolset",
            Self::Image(_) | Self::Root(_) => "the tools image",
        }
    }

    /// Whose files a program finds at `/`, in words.
    pub fn owner_of_root(&self) -> &'static str {
        if self.is_root() { "the tools image" } else { "the container" }
    }

    /// What to do about a program that needs files which the target lacks.
    pub fn hint_for(&self, program: &[u8]) -> &'static str {
        match self {
            Self::Image(_) if self.is_ours(program) => "--tools-root runs it in its image's root",
            _ => "",
        }
    }

    /// Where a path of the session leads by its text; `None` if that depends on
    /// the working directory.
    pub fn place(&self, path: &[u8]) -> Option<Place> {
        let absolute = path.starts_with(b"/").then_some(path)?;
        let (tools, target) = match self {
            Self::Root(_) => ("", TARGET),
            Self::Toolset | Self::Nothing | Self::Image(_) => (MOUNT_POINT, ""),
        };
        let below = |folder: &str| absolute.strip_prefix(folder.as_bytes()).map(<[u8]>::to_vec);
        if self.is_ours(path) {
            below(tools).map(Place::Tools)
        } else {
            below(target).map(Place::Target)
        }
    }

    /// Whether a path leads to the tools whatever the target does: that its
    /// mounts are noexec is not enough, because a link through `/proc/1/root`
    /// leads to where they are not (threat model, A2).
    pub fn is_ours(&self, path: &[u8]) -> bool {
        let is_below = |folder: &str| {
            let rest = path.strip_prefix(folder.as_bytes());
            rest.is_some_and(|rest| rest.starts_with(b"/"))
        };
        let ours = match self {
            Self::Toolset | Self::Nothing | Self::Image(_) => is_below(MOUNT_POINT),
            Self::Root(_) => is_below("") && !NOT_THE_IMAGES.into_iter().any(is_below),
        };
        // `//target` is `/target` to the kernel, and so on.
        ours && !path[1..]
            .split(|byte| *byte == b'/')
            .any(|part| matches!(part, b"" | b"." | b".."))
    }
}

/// What is not the image's where its root is the session's. `/proc` has links to
/// the roots of all processes.
const NOT_THE_IMAGES: [&str; 3] = [TARGET, "/proc", "/dev"];

/// Whose a file is, and its path there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The tools'.
    Tools(Vec<u8>),
    /// The target's.
    Target(Vec<u8>),
}

fn below_mount_point(path: &[u8]) -> Vec<u8> {
    [MOUNT_POINT.as_bytes(), path].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_toolset_is_ours() {
        assert!(Tools::Toolset.is_ours(b"/.kpexec/bin/ip"));
        for path in
            [&b"/usr/bin/ip"[..], b"ip", b"./ip", b"/.kpexec", b"/.kpexecs/ip", b"/.kpexec/../ip"]
        {
            assert!(!Tools::Toolset.is_ours(path), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn without_tools_the_path_is_the_targets() {
        assert_eq!(Tools::Nothing.path("/app:/bin"), b"/app:/bin");
        assert_eq!(Tools::Nothing.shell(), None);
        assert!(!Tools::Nothing.is_ours(b"/bin/sh"));
    }

    #[test]
    fn an_images_path_is_taken_below_the_mount_point() {
        let tools = Tools::image("/usr/local/bin:bin::/bin", false);
        let path = String::from_utf8(tools.path("/app:/bin")).unwrap();
        assert_eq!(path, "/.kpexec/usr/local/bin:/.kpexec/bin:/app:/bin");
        assert!(tools.is_ours(b"/.kpexec/opt/tool") && !tools.is_ours(b"/bin/ip"));
        // What it has for a shell need not run in the target's root.
        assert_eq!(tools.shell(), None);
    }

    #[test]
    fn where_the_root_is_the_images_the_target_lies_below() {
        let tools = Tools::image("/usr/bin:/bin", true);
        assert_eq!(tools.path("/app"), b"/usr/bin:/bin");
        assert_eq!(tools.place(b"/bin/ip"), Some(Place::Tools(b"/bin/ip".to_vec())));
        assert_eq!(tools.place(b"/target/bin/ip"), Some(Place::Target(b"/bin/ip".to_vec())));
        assert!(tools.is_ours(b"/targets/ip"));
        for path in [
            &b"/target/ip"[..],
            b"//target/ip",
            b"/./target/ip",
            b"/usr/../target/ip",
            b"/proc/1/root/ip",
            b"/dev/shm/ip",
            b"ip",
            b"./ip",
        ] {
            assert!(!tools.is_ours(path), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn a_path_lies_with_the_tools_or_with_the_target() {
        let place = |path: &[u8]| Tools::Toolset.place(path);
        assert_eq!(place(b"/.kpexec/bin/ip"), Some(Place::Tools(b"/bin/ip".to_vec())));
        assert_eq!(place(b"/bin/ip"), Some(Place::Target(b"/bin/ip".to_vec())));
        assert_eq!(place(b"./ip"), None);
    }
}
