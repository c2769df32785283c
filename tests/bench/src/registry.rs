//! The registry that every scanner pulls from: Debian's `docker-registry` where there is one, else the test kit's.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use portwarden_local::push::{self, ImageChoice};
use portwarden_oci::Version;
use portwarden_registry::LayoutReference;
use portwarden_testkit::registry::{RegistryServer, Settings};

use crate::{Bench, Failure, images::TAG, program};

/// A registry on loopback; it ends with this value.
pub(crate) struct LocalRegistry {
    name: String,
    running: Running,
}

enum Running {
    Debian(Child),
    Testkit { _server: RegistryServer },
}

impl LocalRegistry {
    /// Starts a registry, which keeps its images from run to run where it can.
    pub(crate) async fn start(bench: &Bench) -> Result<Self, Failure> {
        let Some(program) = program::find("docker-registry", Path::new("/usr/sbin")) else {
            let server = RegistryServer::start(Settings::default()).await?;
            return Ok(Self {
                name: server.name(),
                running: Running::Testkit { _server: server },
            });
        };
        let folder = bench.state.join("registry");
        fs::create_dir_all(&folder)?;
        // Freed again at once, and nobody else on this machine takes it in between but by chance.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let name = format!("127.0.0.1:{port}");
        let configuration = folder.join("configuration.yml");
        fs::write(
            &configuration,
            format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '{name}'}}\n",
                folder.display()
            ),
        )?;
        let log = fs::File::create(folder.join("log"))?;
        let child = Command::new(program)
            .arg("serve")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let registry = Self {
            name,
            running: Running::Debian(child),
        };
        for _ in 0..400 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(registry);
            }
            sleep(Duration::from_millis(25));
        }
        Err(format!(
            "docker-registry does not listen; its log is in {}",
            folder.display()
        )
        .into())
    }

    /// Says which it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self.running {
            Running::Debian(_) => "Debian's docker-registry",
            Running::Testkit { .. } => "the test kit's registry",
        }
    }

    /// Pushes the image of a layout, and returns the reference by which it is pulled.
    pub(crate) async fn push(&self, layout: &Path, repository: &str) -> Result<String, Failure> {
        let version = Version::Tag(TAG.parse()?);
        let choice = ImageChoice::Layout(LayoutReference {
            directory: layout.to_owned(),
            version: Some(version),
        });
        let (source, version) = choice.open(layout).await?;
        push::push(
            &*source,
            &version,
            &self.name,
            &repository.parse()?,
            &TAG.parse()?,
        )
        .await?;
        Ok(format!("{}/{repository}:{TAG}", self.name))
    }
}

impl Drop for LocalRegistry {
    fn drop(&mut self) {
        if let Running::Debian(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
