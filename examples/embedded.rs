//! A server embedded in another program: started, called and stopped, without a command line.

use boneyard::config::{AdminSocket, Config};
use boneyard::server::machine;
use boneyard::{ApplicationError, Client, Method, Server};
use std::error::Error;

const AREA: Method<(f64, f64), f64> = Method::new("shapes.area");

/// Error code for a negative length.
const NEGATIVE: u32 = 1;

const SETTINGS: &str = "
Ports=TCPIP
TCPIP_TCPIPAddress=0,127.0.0.1:0
Server_Pool_Tasks=4
Server_Max_Concurrent_Trans=4
Server_Shutdown_Timeout=5
";

fn main() -> Result<(), Box<dyn Error>> {
    // Settings can also come from a file: Server::from_ini("server.ini").
    let mut config = Config::from_text(SETTINGS, None, machine::cpus())?;
    // The admin socket, for commands of this user and root by `boneyard console PATH`, is next to the settings file by
    // default. Without a file it needs a path, best in a folder that only this user may write to.
    let socket = format!("boneyard-embedded-{}.admin", std::process::id());
    config.admin_socket.value = AdminSocket::At(std::env::temp_dir().join(socket));
    let server = Server::new(config)
        .handle(AREA, |tx, (width, height): (f64, f64)| {
            if width < 0.0 || height < 0.0 {
                Err(ApplicationError::new(NEGATIVE, format!("a negative length, {}", tx.peer())))?;
            }
            Ok(width * height)
        })
        .start()?;

    // The system chose the port, as port 0 asks it to.
    let client = Client::connect(server.address())?;
    println!("area: {}", client.call(AREA, &(3.0, 0.5))?);
    if let Err(error) = client.call(AREA, &(-1.0, 1.0)) {
        println!("{:?}: {error}", error.blame());
    }
    println!("calls: {}", server.ports()[0].stats().calls.get());

    // Dropping a server stops it too, but does not wait for calls in flight.
    let stopped = server.stop();
    println!("lost: {}", stopped.lost());
    Ok(())
}
