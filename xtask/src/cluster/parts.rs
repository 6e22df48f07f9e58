//! What the cluster is made of, and from which Go module each part is built.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::layout;
use crate::digest::Inputs;

/// One Go module of `tests/cluster/go`, and the programs it gives.
pub struct Part {
    /// Folder of the module below `tests/cluster/go`.
    pub module: &'static str,
    /// What the user reads.
    pub title: &'static str,
    /// How long a first build takes on two cores.
    pub first_build: &'static str,
    /// Go package → file name of the program.
    pub programs: &'static [(&'static str, &'static str)],
    /// Build tags.
    pub tags: &'static str,
    /// Whether C code is linked in.
    pub cgo: bool,
    /// Linker flags besides `-s -w`.
    pub link: &'static str,
    /// What has to be done beside `go build`.
    pub extra: Extra,
}

/// Work a part needs besides `go build`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    Nothing,
    /// CRI-O's pinns is C: gcc over `pinns/src` of the module.
    Pinns,
    /// gVisor's shim asks for an OOM score that needs CAP_SYS_RESOURCE.
    OomScore,
}

/// Names by which the one Kubernetes binary is called.
pub const KUBERNETES_PROGRAMS: &[&str] =
    &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"];

/// Every part, in the order of building: the longest first.
pub const PARTS: &[Part] = &[
    Part {
        module: "kubernetes",
        title: "kubernetes 1.36.3",
        first_build: "6 min",
        programs: &[(".", "kube")],
        tags: "",
        cgo: false,
        link: "-X k8s.io/component-base/version.gitVersion=v1.36.3",
        extra: Extra::Nothing,
    },
    Part {
        module: "cri-o",
        title: "CRI-O 1.34.0",
        first_build: "4 min",
        programs: &[("github.com/cri-o/cri-o/cmd/crio", "crio")],
        tags: "containers_image_openpgp,exclude_graphdriver_btrfs,exclude_graphdriver_devicemapper,seccomp",
        cgo: true,
        link: "",
        extra: Extra::Pinns,
    },
    Part {
        module: "containerd",
        title: "containerd 2.4.2",
        first_build: "2 min",
        programs: &[
            ("github.com/containerd/containerd/v2/cmd/containerd", "containerd"),
            (
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                "containerd-shim-runc-v2",
            ),
            ("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
        ],
        tags: "no_btrfs,no_devmapper,no_zfs",
        cgo: false,
        link: "-X github.com/containerd/containerd/v2/version.Version=2.4.2",
        extra: Extra::Nothing,
    },
    Part {
        module: "gvisor",
        title: "gVisor 20260905",
        first_build: "2 min",
        programs: &[
            ("gvisor.dev/gvisor/runsc", "runsc"),
            ("gvisor.dev/gvisor/shim", "containerd-shim-runsc-v1"),
        ],
        tags: "",
        cgo: false,
        link: "",
        extra: Extra::OomScore,
    },
    Part {
        module: "runc",
        title: "runc 1.5.2",
        first_build: "20 s",
        programs: &[("github.com/opencontainers/runc", "runc")],
        tags: "seccomp",
        cgo: true,
        link: "",
        extra: Extra::Nothing,
    },
];

impl Part {
    /// The module's folder in this checkout.
    pub fn source(&self) -> PathBuf {
        layout::checkout().join("tests/cluster/go").join(self.module)
    }

    /// The folder of the built programs. Its name changes with everything that
    /// can change the programs, so an old cache is never taken for a new one.
    pub fn cached(&self) -> Result<PathBuf> {
        let mut inputs = Inputs::default();
        for file in ["go.mod", "go.sum", "main.go"] {
            let path = self.source().join(file);
            if path.exists() {
                inputs.add_file(&path)?;
            }
        }
        let flags = format!(
            "{:?} {} cgo={} {} {}",
            self.programs, self.tags, self.cgo, self.link, self.extra as u8
        );
        inputs.add("flags", flags.as_bytes());
        Ok(layout::cache().join(format!("{}-{}", self.module, inputs.finish_short())))
    }

    /// Link name → file of every program in the part's cache folder.
    pub fn links(&self, cached: &Path) -> Vec<(String, PathBuf)> {
        if self.module == "kubernetes" {
            let kube = cached.join("kube");
            return KUBERNETES_PROGRAMS.iter().map(|n| ((*n).to_owned(), kube.clone())).collect();
        }
        let mut names: Vec<&str> = self.programs.iter().map(|(_, name)| *name).collect();
        if self.extra == Extra::Pinns {
            names.push("pinns");
        }
        names.into_iter().map(|name| (name.to_owned(), cached.join(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_in_the_repository() {
        for part in PARTS {
            assert!(part.source().join("go.sum").is_file(), "{}", part.module);
        }
    }

    #[test]
    fn every_program_has_one_name() {
        let mut names: Vec<String> = PARTS
            .iter()
            .flat_map(|part| part.links(Path::new("/c")))
            .map(|(name, _)| name)
            .collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.contains(&"pinns".to_owned()) && names.contains(&"kubectl".to_owned()));
    }
}
