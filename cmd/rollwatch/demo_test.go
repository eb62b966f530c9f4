package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// The demo ends as it promises: rollback for the right reason, and a webhook
// whose signature holds. It fails otherwise, and so does this test.
func TestTheDemoTellsItsStory(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.NoError(t, runDemo(t.Context(), &stdout, &stderr, "127.0.0.1:0", true), "%s%s", &stdout, &stderr)
	for _, told := range []string{"PostgreSQL on", "Redis on", "postgres:main", "ROLLBACK", "error_ratio is firing", "signature verified"} {
		require.Contains(t, stdout.String(), told)
	}
	require.Empty(t, stderr.String(), "nothing went wrong on the way")
}
