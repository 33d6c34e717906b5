// The parts of Kubernetes that the testbed runs, in one static program: etcd, kube-apiserver and kubectl.
//
// Each is the upstream command, called as it is, with its own flags. Which one runs is told by the name under
// which the program is called, as a link, or else by the first argument:
//
//	ln -s pleo-kubernetes kubectl && ./kubectl version
//	./pleo-kubernetes kubectl version
//
// One program, because the parts share most of their code: three would be built and stored three times.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/component-base/version"
)

// parts run an upstream command, which finds its flags in os.Args, and give its exit code.
var parts = map[string]func() int{
	"etcd":           etcd,
	"kube-apiserver": apiserver,
	"kubectl":        kubectl,
}

func main() {
	name := filepath.Base(os.Args[0])
	if parts[name] == nil && len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:]
	}
	run := parts[name]
	if run == nil {
		names := strings.Join(slices.Sorted(maps.Keys(parts)), ", ")
		fmt.Fprintf(os.Stderr, "pleo-kubernetes (Kubernetes %s): say which part to run: %s\n", version.Get().GitVersion, names)
		os.Exit(2)
	}
	os.Exit(run())
}
