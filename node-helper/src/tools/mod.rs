//! Where the session's tools stand, and which programs are ours.

pub mod files;

pub use files::ToolFiles;

/// The tools of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tools {
    /// The helper image's own, at `/.kpexec`.
    Toolset,
    /// Those of another image, whose root is at `/.kpexec`: the folders of its
    /// `PATH`, as itself sees them.
    Image(Vec<Vec<u8>>),
}

impl Tools {
    /// Those of an image with this `PATH`.
    pub fn image(path: &str) -> Self {
        let folders = path.split(':').filter(|folder| folder.starts_with('/'));
        Self::Image(folders.map(|folder| folder.as_bytes().to_vec()).collect())
    }

    /// The folders with programs of ours, as the session sees them.
    pub fn folders(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Toolset => vec![below_mount_point(b"/bin")],
            Self::Image(folders) => folders.iter().map(|path| below_mount_point(path)).collect(),
        }
    }

    /// The session's `PATH`, given the target's.
    pub fn path(&self, target: &str) -> Vec<u8> {
        let mut folders = self.folders();
        folders.push(target.as_bytes().to_vec());
        folders.join(&b':')
    }

    /// What programs start for a shell, where it is known to be one.
    pub fn shell(&self) -> Option<Vec<u8>> {
        match self {
            Self::Toolset => Some(below_mount_point(b"/bin/bash")),
            Self::Image(_) => None,
        }
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
        let ours = absolute.strip_prefix(tools_overlay::MOUNT_POINT.as_bytes());
        let ours = ours.filter(|_| self.is_ours(path)).map(|rest| Place::Tools(rest.to_vec()));
        Some(ours.unwrap_or_else(|| Place::Target(absolute.to_vec())))
    }

    /// Whether a path leads to the tools whatever the target does: that its
    /// mounts are noexec is not enough, because a link through `/proc/1/root`
    /// leads to where they are not (threat model, A2).
    pub fn is_ours(&self, path: &[u8]) -> bool {
        let folder = tools_overlay::MOUNT_POINT.as_bytes();
        let below = path.strip_prefix(folder).filter(|rest| rest.starts_with(b"/"));
        below.is_some_and(|rest| rest.split(|byte| *byte == b'/').all(|part| part != b".."))
    }
}

/// Whose a file is, and its path there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The tools'.
    Tools(Vec<u8>),
    /// The target's.
    Target(Vec<u8>),
}

fn below_mount_point(path: &[u8]) -> Vec<u8> {
    [tools_overlay::MOUNT_POINT.as_bytes(), path].concat()
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
    fn an_images_path_is_taken_below_the_mount_point() {
        let tools = Tools::image("/usr/local/bin:bin::/bin");
        let path = String::from_utf8(tools.path("/app:/bin")).unwrap();
        assert_eq!(path, "/.kpexec/usr/local/bin:/.kpexec/bin:/app:/bin");
        assert!(tools.is_ours(b"/.kpexec/opt/tool") && !tools.is_ours(b"/bin/ip"));
        // What it has for a shell need not run in the target's root.
        assert_eq!(tools.shell(), None);
    }

    #[test]
    fn a_path_lies_with_the_tools_or_with_the_target() {
        let place = |path: &[u8]| Tools::Toolset.place(path);
        assert_eq!(place(b"/.kpexec/bin/ip"), Some(Place::Tools(b"/bin/ip".to_vec())));
        assert_eq!(place(b"/bin/ip"), Some(Place::Target(b"/bin/ip".to_vec())));
        assert_eq!(place(b"./ip"), None);
    }
}
