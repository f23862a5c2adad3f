//! The implementation: what runs in the compartment.

/// Implements the world.
pub struct Implementation;

impl crate::Guest for Implementation {
    fn greet(name: String) -> String {
        format!("Good day, {name}.")
    }
}
