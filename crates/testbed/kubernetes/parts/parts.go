// Package parts runs one of several upstream commands that share a program. Which one is told by the name under which
// the program is called, as a link, or else by the first argument.
package parts

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/component-base/version"
)

// Part runs an upstream command, which finds its flags in os.Args, and gives its exit code.
type Part func() int

// Run does not return: it ends the program with the exit code of the part that was called.
func Run(program string, parts map[string]Part) {
	name := filepath.Base(os.Args[0])
	if parts[name] == nil && len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:]
	}
	run := parts[name]
	if run == nil {
		names := strings.Join(slices.Sorted(maps.Keys(parts)), ", ")
		fmt.Fprintf(os.Stderr, "%s (Kubernetes %s): say which part to run: %s\n", program, version.Get().GitVersion, names)
		os.Exit(2)
	}
	os.Exit(run())
}
