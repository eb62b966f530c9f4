package live_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
)

// doom tells a test process of ours how it has to die.
const doom = "ROLLWATCH_LIVE_DOOM"

// TestDoomed is not a test of its own: TestNoServerOutlivesItsTest runs it in
// another process, where it starts servers, says where they are, and dies.
func TestDoomed(t *testing.T) {
	how := os.Getenv(doom)
	if how == "" {
		return
	}
	if how == "no Redis" {
		live.Redis(t)
	}
	postgres := live.Postgres(t)
	standby := postgres.Standby(t)
	redis := live.Redis(t, "--save", "60 1")
	standby.Freeze(t)
	for _, server := range []interface{ Where() (string, string) }{postgres, standby, redis} {
		addr, folder := server.Where()
		fmt.Println("server", addr, folder)
	}
	fmt.Println("ready")
	if how == "panic" {
		panic("as a test may")
	}
	select {} // until we are killed
}

func TestNoServerOutlivesItsTest(t *testing.T) {
	for _, how := range []string{"panic", "kill -9"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			doomed := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDoomed$")
			doomed.Env = append(os.Environ(), doom+"="+how)
			output, err := doomed.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, doomed.Start())

			servers := map[string]string{}
			lines := bufio.NewScanner(output)
			for lines.Scan() && lines.Text() != "ready" {
				if words := strings.Fields(lines.Text()); len(words) == 3 && words[0] == "server" {
					servers[words[1]] = words[2]
				}
			}
			require.Len(t, servers, 3, "the doomed process starts a primary, a standby and a Redis")
			if how == "kill -9" {
				require.NoError(t, doomed.Process.Kill())
			}
			for lines.Scan() { // to its end
			}
			require.Error(t, doomed.Wait())

			for addr, folder := range servers {
				requireClosed(t, addr)
				require.Eventually(t, func() bool {
					_, err := os.Stat(folder)
					return os.IsNotExist(err)
				}, 15*time.Second, 20*time.Millisecond, "%s is still there", folder)
			}
		})
	}
}

func TestAMissingServerFailsTheTestAndSaysHowToGetIt(t *testing.T) {
	doomed := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDoomed$")
	doomed.Env = append(os.Environ(), doom+"=no Redis", "PATH="+t.TempDir())
	output, err := doomed.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(output), "redis-server: not installed: run `make setup`")
	require.NotContains(t, string(output), "SKIP")
}
