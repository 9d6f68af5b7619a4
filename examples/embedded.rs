//! A server embedded in another program: started, called and stopped, without a command line.

use boneyard::{ApplicationError, Client, Method, Server};
use std::error::Error;

const AREA: Method<(f64, f64), f64> = Method::new("shapes.area");

/// Error code for a negative length.
const NEGATIVE: u32 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    // The admin socket, for commands of this user and root by `boneyard console PATH`, is next to the settings file by
    // default. Without a file it needs a path, best in a folder that only this user may write to.
    let socket = format!("boneyard-embedded-{}.admin", std::process::id());
    // Keys and values are those of a settings file, which Server::from_ini("server.ini") reads.
    let server = Server::builder()
        .port("TCPIP", "127.0.0.1:0")
        .set("Server_Pool_Tasks", 4)
        .set("Server_Max_Concurrent_Trans", 4)
        .set("Server_Shutdown_Timeout", 5)
        .set("Admin_Socket", std::env::temp_dir().join(socket).display())
        .build()?
        .handle(AREA, |tx, (width, height): (f64, f64)| {
            if width < 0.0 || height < 0.0 {
                Err(ApplicationError::new(NEGATIVE, format!("a negative length, {}", tx.peer())))?;
            }
            Ok(width * height)
        })
        .start()?;

    // The system chose the port, as port 0 asks it to.
    let port = server.port("TCPIP").ok_or("no such port")?;
    let client = Client::connect(port.address())?;
    println!("area: {}", client.call(AREA, &(3.0, 0.5))?);
    if let Err(error) = client.call(AREA, &(-1.0, 1.0)) {
        println!("{:?}: {error}", error.blame());
    }
    println!("calls: {}", port.stats().calls.get());

    // Dropping a server stops it too, but does not wait for calls in flight.
    let stopped = server.stop();
    println!("lost: {}", stopped.lost());
    Ok(())
}
