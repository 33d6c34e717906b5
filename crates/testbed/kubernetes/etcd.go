// etcd, with small files: it reserves two write-ahead segments of 64 MB each, which would be most of a
// testbed's disk.

package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

func etcd() int {
	wal.SegmentSizeBytes = 4 << 20
	etcdmain.Main(os.Args)
	return 0
}
