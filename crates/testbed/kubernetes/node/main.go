// What a testbed with nodes runs beside pleo-kubernetes, in one static program: kube-controller-manager, kube-scheduler,
// kubelet and helm. A program of its own, so that whoever needs no nodes does not wait for its build.
package main

import "pleo-testbed/kubernetes/parts"

func main() {
	parts.Run("pleo-node", map[string]parts.Part{
		"kube-controller-manager": controllerManager,
		"kube-scheduler":          scheduler,
		"kubelet":                 kubelet,
		"helm":                    helm,
	})
}
