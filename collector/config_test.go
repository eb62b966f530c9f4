package collector

import (
	"testing"
	"time"

	"github.com/alecthomas/units"
	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func TestConfigReadsUnitsAsPeopleWriteThem(t *testing.T) {
	cfg := DefaultConfig()
	require.NoError(t, yaml.Unmarshal([]byte("{retention: 3d, size: 2GiB}"), &cfg))
	require.Equal(t, model.Duration(72*time.Hour), cfg.Retention)
	require.Equal(t, 2*units.GiB, cfg.Size)
	require.Equal(t, 20_000, cfg.SeriesPerTarget, "what the file leaves out keeps its default")
}

func TestConfigNamesWhatIsTooSmall(t *testing.T) {
	require.Empty(t, DefaultConfig().Validate())
	faults := Config{Retention: model.Duration(time.Hour), Size: units.MiB}.Validate()
	require.Len(t, faults, 4)
	require.Equal(t, "$.retention", faults[0].Path)
	require.Equal(t, "give at least 4h; the default is 2d", faults[0].Cure)
	require.Equal(t, "$.size", faults[1].Path)
	require.Equal(t, "give at least 128MiB; the default is 1GiB", faults[1].Cure)
	require.Equal(t, "$.series_per_target", faults[2].Path)
	require.Equal(t, "$.samples_per_scrape", faults[3].Path)
}
