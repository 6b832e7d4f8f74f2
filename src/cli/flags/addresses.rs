//! The options of `neuronc serve` that say where it listens.

use std::net::SocketAddr;

use anyhow::Result;

use crate::failure::Failure;
use crate::placement::Placement;
use crate::serve::config::{ListenConfig, ListenHost};
use crate::serve::{self, Listener, ListenerRole};

const PORT: u16 = 8080;

/// The ports, and their purposes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AddressFlags {
    /// The address to listen on; other machines reach only what is not on loopback
    /// [default: 127.0.0.1].
    #[arg(long)]
    host: Option<ListenHost>,

    /// The port to listen on; 0 takes a free one [default: 8080].
    #[arg(long)]
    port: Option<u16>,

    /// Also listen on this port for management, which changes what is served; on loopback unless
    /// `--management-host` says otherwise.
    #[arg(long, value_name = "PORT")]
    management_port: Option<u16>,

    /// The address for management; whoever reaches it is an operator.
    #[arg(long, value_name = "HOST", requires = "management_port")]
    management_host: Option<ListenHost>,

    /// Also give each core a port of its own: core i answers on PORT + i, and only through core i.
    #[arg(long, value_name = "PORT")]
    listen_per_core: Option<u16>,
}

impl AddressFlags {
    /// Listens on all ports, those of these options or else of `config`.
    pub(in crate::cli) fn open(
        &self,
        config: &ListenConfig,
        placement: &Placement,
    ) -> Result<Vec<Listener>> {
        let doors = self.doors(config, placement)?;
        check_apart(&doors)?;
        doors.into_iter().map(listen).collect()
    }

    /// The addresses to listen on: that for everybody first, then those of the cores.
    fn doors(
        &self,
        config: &ListenConfig,
        placement: &Placement,
    ) -> Result<Vec<(SocketAddr, ListenerRole)>> {
        let address = |host: Option<ListenHost>, port| {
            SocketAddr::new(host.unwrap_or(ListenHost::LOCAL).0, port)
        };
        let host = self.host.or(config.host);
        let port = self.port.or(config.port).unwrap_or(PORT);
        let mut doors = vec![(address(host, port), ListenerRole::All)];
        if let Some(port) = self.management_port.or(config.management_port) {
            let host = self.management_host.or(config.management_host);
            doors.push((address(host, port), ListenerRole::Management));
        }
        let Some(first) = self.listen_per_core.or(config.per_core) else {
            return Ok(doors);
        };
        for (index, worker) in placement.workers.iter().enumerate() {
            let core = worker.cores.lowest().unwrap_or(0);
            let port = u16::try_from(u32::from(first) + core).map_err(|_| {
                Failure::usage(format!("core {core} has no port"))
                    .why(format!(
                        "{first} + {core} is beyond the last port, {}",
                        u16::MAX
                    ))
                    .help("give a smaller `--listen-per-core`")
            })?;
            doors.push((address(host, port), ListenerRole::Worker(index)));
        }
        Ok(doors)
    }
}

fn listen((address, role): (SocketAddr, ListenerRole)) -> Result<Listener> {
    let socket = serve::listen(address).map_err(|error| {
        Failure::usage(format!("cannot listen on {address}"))
            .why(error.to_string())
            .help(format!("give another `{}` or `--host`", option(role)))
    })?;
    Ok(Listener { socket, role })
}

/// Refuses a port that two options ask for.
fn check_apart(doors: &[(SocketAddr, ListenerRole)]) -> Result<()> {
    for (index, (address, role)) in doors.iter().enumerate() {
        let mut before = doors[..index].iter();
        if let Some((_, other)) = before.find(|(other, _)| meet(*other, *address)) {
            let what = format!("port {} is asked for twice", address.port());
            let why = format!("by `{}` and by `{}`", option(*other), option(*role));
            let failure = Failure::usage(what).why(why);
            return Err(failure.help("give each a port of its own").into());
        }
    }
    Ok(())
}

/// True when one of two addresses takes the port of the other.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let (here, there) = (one.ip(), other.ip());
    let is_shared = here == there || here.is_unspecified() || there.is_unspecified();
    one.port() != 0 && one.port() == other.port() && is_shared
}

/// The option that a port comes from.
fn option(role: ListenerRole) -> &'static str {
    match role {
        ListenerRole::All => "--port",
        ListenerRole::Management => "--management-port",
        ListenerRole::Worker(_) => "--listen-per-core",
    }
}
