//! A server embedded in another program: started, called, stopped, without a command line.

use boneyard::config::{AdminSocket, Config};
use boneyard::server::machine;
use boneyard::service::ApplicationError;
use boneyard::{Client, Method, Server};
use std::error::Error;

const AREA: Method<(f64, f64), f64> = Method::new("shapes.area");

/// Code of the error for a length below zero.
const NEGATIVE: u32 = 1;

const SETTINGS: &str = "
Ports=TCPIP
TCPIP_TCPIPAddress=0,127.0.0.1:0
Server_Pool_Tasks=4
Server_Max_Concurrent_Trans=4
Server_Shutdown_Timeout=5
";

fn main() -> Result<(), Box<dyn Error>> {
    // The settings can also come from a file: Server::from_ini("server.ini").
    let mut config = Config::from_text(SETTINGS, None, machine::cpus())?;
    // The admin socket, over which this user and root command the server (boneyard console PATH), is beside the
    // settings file. Without a file it needs a path, best in a folder of this user alone.
    let socket = format!("boneyard-embedded-{}.admin", std::process::id());
    config.admin_socket.value = AdminSocket::At(std::env::temp_dir().join(socket));
    let server = Server::new(config)
        .handle(AREA, |tx, (width, height): (f64, f64)| {
            if width < 0.0 || height < 0.0 {
                return Err(ApplicationError::new(NEGATIVE, format!("a negative length, {}", tx.peer())));
            }
            Ok(width * height)
        })
        .start()?;

    // With port 0 the system chooses one; the server knows it.
    let client = Client::connect(&server.address().to_string())?;
    println!("area: {}", client.call(AREA, &(3.0, 0.5))?);
    if let Err(error) = client.call(AREA, &(-1.0, 1.0)) {
        println!("{:?}: {error}", error.blame());
    }
    println!("calls: {}", server.ports()[0].stats().calls.get());

    // Dropping a server stops it too, without waiting for calls in flight.
    let stopped = server.stop();
    println!("lost: {}", stopped.lost());
    Ok(())
}
