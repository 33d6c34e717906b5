// What every testbed runs, in one static program: etcd, kube-apiserver and kubectl.
//
// Each is the upstream command, called as it is, with its own flags:
//
//	ln -s pleo-kubernetes kubectl && ./kubectl version
//	./pleo-kubernetes kubectl version
//
// One program, because the parts share most of their code: three would be built and stored three times.
package main

import "pleo-testbed/kubernetes/parts"

func main() {
	parts.Run("pleo-kubernetes", map[string]parts.Part{
		"etcd":           etcd,
		"kube-apiserver": apiserver,
		"kubectl":        kubectl,
	})
}
