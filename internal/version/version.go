// Package version has the project's version, which the stack, its code's keys,
// the command line and the release archives name.
package version

// Version is a semantic version without a leading v.
const Version = "0.1.0"
