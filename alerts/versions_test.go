package alerts

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// versionsSeen are the sightings of a whole window, as "at: versions".
func versionsSeen(t *testing.T, service *Service, series map[string]string) (told []string) {
	t.Helper()
	service.FillIn()
	scene := sceneOf(t, service, time.Minute, series)
	all, err := Sightings(t.Context(), scene, Span{To: scene.Now})
	require.NoError(t, err)
	for _, s := range all {
		told = append(told, fmt.Sprintf("%d: %v", int(s.At.Unix())/15, s.Versions))
	}
	return told
}

func TestVersionsAreSeenInTheRequestsThatAreScraped(t *testing.T) {
	service := apiService()
	service.VersionLabel, service.Detect = "version", &Detect{}
	service.Health.URL = "http://api:3001/health"
	told := versionsSeen(t, service, map[string]string{
		requests("200", `version="1"`):                                          "0+300x2 stale",
		requests("200", `version="2"`, `route="/health"`):                       absent(2) + "1+1x1",
		`nodejs_version_info{job="api",version="v22.1.0"}`:                      "1x3",
		`rollwatch_http_version_info{job="rollwatch",target="api",version="9"}`: "1x3",
	})
	require.Equal(t, Rolling, service.Detect.Strategy)
	require.Equal(t, []string{"0: [1]", "1: [1]", "2: [1 2]", "3: [2]"}, told, "a health check is enough to be seen; node's version is another matter")
}

func TestVersionsAreSeenInWhatHealthEndpointsAnswer(t *testing.T) {
	service := apiService()
	service.Detect = &Detect{Strategy: BlueGreen}
	service.Health.URL = "http://api:3001/health"
	told := versionsSeen(t, service, map[string]string{
		`rollwatch_http_version_info{job="rollwatch",target="api",version="1"}`:                            "1x1 stale",
		`rollwatch_http_version_info{job="rollwatch",target="api",version="2"}`:                            absent(2) + "1x1",
		`rollwatch_http_version_info{job="rollwatch",target="web",version="7"}`:                            "1x3",
		`rollwatch_http_replica_version_info{job="rollwatch",target="api",replica="10.0.0.7",version="2"}`: "_ 1x2",
	})
	require.Equal(t, "health", service.Detect.From)
	require.Equal(t, []string{"0: [1]", "1: [1 2]", "2: [2]", "3: [2]"}, told)
}

func sightings(readings ...string) []Sighting {
	var all []Sighting
	for i, text := range readings {
		s := Sighting{At: time.Unix(int64(15*i), 0)}
		for _, v := range text {
			s.Versions = append(s.Versions, string(v))
		}
		all = append(all, s)
	}
	return all
}

func TestANewcomerComesAfterOthersAndStays(t *testing.T) {
	since := func(tick int) time.Time { return time.Unix(int64(15*tick), 0) }
	require.Equal(t, []Newcomer{{Version: "2", Before: "1", Since: since(2)}}, Newcomers(sightings("1", "1", "12", "2")))
	require.Equal(t, []Newcomer{{Version: "2", Before: "1", Since: since(3)}}, Newcomers(sightings("01", "1", "01", "2", "1", "2")), "before it was what was seen most")
	require.Empty(t, Newcomers(sightings("1", "1", "12")), "once is not enough")
	require.Empty(t, Newcomers(sightings("12", "1", "1", "2", "2")), "it was there before")
	require.Empty(t, Newcomers(nil))
}

func TestAVersionIsReplacedWhenOnlyTheOtherWasSeenForLong(t *testing.T) {
	long := []string{"1", "2", "1", "1", "1", "1", "1", "1", "1", "1"}
	since, gone := Replaced(sightings(long...), "2", "1")
	require.True(t, gone)
	require.Equal(t, time.Unix(30, 0), since)
	require.True(t, MayBeGone(sightings(long...), "2"))
	for name, readings := range map[string][]string{
		"too short":        long[:9],
		"never seen":       {"1", "1", "1", "1", "1", "1", "1", "1", "1"},
		"replaced by none": {"2", "3", "3", "3", "3", "3", "3", "3", "3"},
		"seen again":       append(long, "12"),
	} {
		_, gone := Replaced(sightings(readings...), "2", "1")
		require.False(t, gone, name)
	}
}

func TestDetectFaultsNameTheFieldAndTheCure(t *testing.T) {
	for text, want := range map[string]string{
		`{name: api, metrics: {preset: otel}, version_label: v, detect: {}}`:             "",
		`{name: api, health: {url: "http://a/health"}, detect: {strategy: canary}}`:      "",
		`{name: api, health: {url: "http://a/health"}, detect: {strategy: big-bang}}`:    `$.detect.strategy: strategy "big-bang" is unknown: use rolling, blue-green or canary`,
		`{name: api, metrics: {preset: otel}, detect: {}}`:                               "$.detect: nothing tells the version of the service: name version_label with metrics, or a health address that answers its version",
		`{name: api, metrics: {preset: otel}, detect: {from: metrics}}`:                  "$.detect.from: no label of the service's own metrics tells its version: name version_label and metrics, or use health",
		`{name: api, metrics: {preset: otel}, version_label: v, detect: {from: health}}`: "$.detect.from: the service has no health address: name health.url, or use metrics",
		`{name: api, health: {url: "http://a/health"}, detect: {from: git}}`:             `$.detect.from: versions are not seen in "git": use metrics or health`,
	} {
		s := decode[Service](t, text)
		s.FillIn()
		require.Equal(t, want, written(s.Validate()), text)
	}
}
