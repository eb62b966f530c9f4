package collector

import (
	"os"
	"testing"

	"github.com/prometheus/prometheus/util/osutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The scrape manager asks for the name of the host. The first to do so makes
	// the resolver's locks, which must not belong to a test's bubble.
	if _, err := osutil.GetFQDN(); err != nil {
		println("the host has no name:", err.Error())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
