//! The list as a page.
