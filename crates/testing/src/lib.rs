//! Development only: case tables, tolerances, fixtures.
