//! Where models come from: directories, a hub, package registries.
