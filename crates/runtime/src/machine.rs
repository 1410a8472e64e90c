//! The machine under the process, as the doctor wants to know it: the disk, who may read our files, how many files may
//! be open. Read by the binary, which knows where everything is; judged by the doctor.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// A disk that does not answer must not keep the doctor from telling the rest.
const DEADLINE: Duration = Duration::from_secs(2);

/// Looks at the machine.
pub trait Machine: Send + Sync {
    /// What it finds.
    fn look(&self) -> MachineFacts;

    /// Whether looking may block: then it is done on a thread that may. In virtual time nothing may wait on another one.
    fn blocks(&self) -> bool {
        true
    }
}

/// What is known of the machine; what could not be found out is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// Its name.
    pub host: Option<String>,
    /// The disk that holds the data directory.
    pub disk: Option<Disk>,
    /// Files that others than their owner may read, and must not (F-096).
    pub exposed: Vec<Exposed>,
    /// What is probably not meant as it is configured, one line each; exposed files are not among them.
    pub warnings: Vec<String>,
    /// How many files the process may have open.
    pub open_files: Option<u64>,
}

/// Room on a disk, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// A directory on it.
    pub path: PathBuf,
    /// What we may still write.
    pub free: u64,
    /// What there is in all.
    pub total: u64,
}

/// A file or directory that others may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// Which, and its mode.
    pub what: String,
    /// The command that changes that.
    pub command: String,
}

/// No machine: nothing is known of it.
impl Machine for () {
    fn look(&self) -> MachineFacts {
        MachineFacts::default()
    }

    fn blocks(&self) -> bool {
        false
    }
}

/// Asks a machine, by one thread at a time. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MachineWatch {
    machine: Arc<dyn Machine>,
    one: Arc<Semaphore>,
}

impl MachineWatch {
    pub(crate) fn new(machine: Arc<dyn Machine>) -> Self {
        Self { machine, one: Arc::new(Semaphore::new(1)) }
    }

    /// What the machine says; nothing, when it does not say it in time.
    pub(crate) async fn look(&self) -> MachineFacts {
        if !self.machine.blocks() {
            return self.machine.look();
        }
        let (machine, one) = (Arc::clone(&self.machine), Arc::clone(&self.one));
        let looking = async move {
            let place = one.acquire_owned().await.ok()?;
            let look = move || {
                let facts = machine.look();
                drop(place);
                facts
            };
            tokio::task::spawn_blocking(look).await.ok()
        };
        tokio::time::timeout(DEADLINE, looking).await.ok().flatten().unwrap_or_default()
    }
}
