package alerts

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/flags"
)

// Of each flag that a rollout declared the newest reading counts, and the advice
// names the very key.
func TestAFlagIsAWayBackOnlyWhereAReadingShowsThatItIsOn(t *testing.T) {
	stores := []*flags.Config{
		{Name: "shop", Kind: flags.KindRedis, Redis: "main"}, {Name: "old", Kind: flags.KindRedis, Redis: "second", Prefix: "flag"},
		{Name: "unleash", Kind: flags.KindUnleash, URL: "http://unleash:4242/api"},
	}
	scene := probeScene(t, healthOnly(), 5*time.Minute, map[string]string{
		`rollwatch_flag_info{job="rollwatch",target="shop",flag="checkout",state="off",type=""}`:           "1x10 stale",
		`rollwatch_flag_info{job="rollwatch",target="shop",flag="checkout",state="on",type=""}`:            "_x10 1x300",
		`rollwatch_flag_info{job="rollwatch",target="old",flag="checkout",state="off",type=""}`:            "1x300",
		`rollwatch_flag_info{job="rollwatch",target="unleash",flag="checkout",state="on",type="release"}`:  "1x300",
		`rollwatch_flag_info{job="rollwatch",target="old",flag="some",state="partial",type=""}`:            "1x300",
		`rollwatch_flag_overrides{job="rollwatch",target="old",flag="some",scope="company",value="on"}`:    "3x300",
		`rollwatch_flag_overrides{job="rollwatch",target="old",flag="some",scope="workspace",value="off"}`: "1x300",
		`rollwatch_flag_info{job="rollwatch",target="shop",flag="off",state="off",type=""}`:                "1x300",
		`rollwatch_flag_info{job="rollwatch",target="shop",flag="odd",state="unclear",type=""}`:            "1x300",
		`rollwatch_flag_info{job="rollwatch",target="shop",flag="lost",state="on",type=""}`:                "1x10 stale",
		`rollwatch_flag_info{job="rollwatch",target="of nobody's",flag="elsewhere",state="on",type=""}`:    "1x300",
	})
	read, err := ReadFlags(t.Context(), scene, stores, []string{"checkout", "some", "off", "odd", "lost", "elsewhere"})
	require.NoError(t, err)
	require.Equal(t, []FlagReading{
		{Flag: "checkout", On: true, Switch: "redis main: SET ff:checkout false"},
		{Flag: "checkout", On: true, Switch: "unleash unleash: toggle checkout off"},
		{Flag: "some", On: true, Switch: "redis second: SET flag:some false; and 3 of flag:some:company:<id>, each of which has it on by itself"},
		{Flag: "off", Not: "it is off already"},
		{Flag: "odd", Not: "its value is not understood"},
		{Flag: "lost", Not: "no reading of a flag store shows it"},
		{Flag: "elsewhere", Not: "no reading of a flag store shows it"},
	}, read)
}
