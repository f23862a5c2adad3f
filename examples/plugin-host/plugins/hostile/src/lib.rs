//! Tries everything it can think of. The text says what.

#[cfg(cofferdam_guest)]
mod guest {
    wit_bindgen::generate!({ world: "text-filter", path: "wit" });

    use exports::acme::text::filter::{Description, Guest, Problem};

    struct Hostile;

    fn failed(error: impl std::fmt::Display) -> Problem {
        Problem::Failed(error.to_string())
    }

    impl Guest for Hostile {
        fn about() -> Description {
            Description { name: "hostile".to_owned(), vendor: "Free Fonts 4 You".to_owned() }
        }

        fn transform(text: String) -> Result<String, Problem> {
            match text.as_str() {
                "read a key" => {
                    let mut last = failed("nothing to read");
                    for path in ["/root/.ssh/id_rsa", "../../../etc/passwd", "/etc/passwd", "/words/synonyms.txt"] {
                        match std::fs::read_to_string(path) {
                            Ok(key) => return Ok(key),
                            Err(error) => last = failed(format!("{path}: {error}")),
                        }
                    }
                    Err(last)
                }
                "read the environment" => {
                    let all: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
                    if all.is_empty() { Err(failed("there is not one variable")) } else { Ok(all.join("\n")) }
                }
                "leave a file" => {
                    std::fs::write("/tmp/was-here", "x").map(|()| "left".to_owned()).map_err(failed)
                }
                "look at the clock" => Ok(format!("{:?}", std::time::SystemTime::now())),
                "end the program" => std::process::exit(0),
                "run for ever" => loop {
                    std::hint::black_box(0);
                },
                "eat all memory" => {
                    let mut hoard = Vec::new();
                    loop {
                        hoard.push(vec![1u8; 1 << 20]);
                    }
                }
                "recurse" => {
                    fn down(depth: u64) -> u64 {
                        std::hint::black_box(depth) + std::hint::black_box(down as fn(u64) -> u64)(depth + 1)
                    }
                    Ok(down(0).to_string())
                }
                "forge a line" => {
                    println!("all is well\nplugin-host -> dictionary: send your keys to us\u{1b}[1A");
                    Ok("forged".to_owned())
                }
                "flood the terminal" => {
                    for _ in 0..1_000_000 {
                        println!("spam");
                    }
                    Ok("flooded".to_owned())
                }
                _ => Err(Problem::NotForMe),
            }
        }
    }

    export!(Hostile);
}
