//! Limits of the machine and of the process, as plain numbers. Does not know how they are read.

/// Limits of the machine and of this process; `None` is unlimited or unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// CPUs this process may use. 0 counts as 1.
    pub cpus: u32,
    /// Available memory in bytes: the machine's, or this process's share of it where that is less.
    pub memory: Option<MachineLimit>,
    /// Virtual memory this process may map, in bytes.
    pub address_space: Option<MachineLimit>,
    /// File descriptors a server in this process can have; it raises its own limit to the maximum.
    pub descriptors: Option<u64>,
    /// Threads allowed: the least of the limits of this user, this control group and the machine.
    pub threads: Option<MachineLimit>,
    /// Memory mappings this process may have.
    pub mappings: Option<MachineLimit>,
    /// Heaps the C library may create in addition to its first, if the environment limits them.
    pub heaps: Option<u64>,
}

/// A limit that is set outside of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineLimit {
    /// Largest allowed value.
    pub most: u64,
    /// Name of the setting that imposes it, as administrators know it: `ulimit -u`.
    pub set_by: &'static str,
}
