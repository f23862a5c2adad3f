//! A guest with `std::fs`: it gives back what it is given, and reads a file when its edge lets it.

#[cfg(cofferdam_guest)]
mod guest {
    wit_bindgen::generate!({ world: "echo", path: "wit" });

    struct Echo;

    impl Guest for Echo {
        fn echo(data: Vec<u8>) -> Vec<u8> {
            data
        }

        fn greet(name: String) -> String {
            format!("Hello, {name}!")
        }

        fn read_file(path: String) -> Result<String, String> {
            std::fs::read_to_string(path).map_err(|error| error.to_string())
        }
    }

    export!(Echo);
}
