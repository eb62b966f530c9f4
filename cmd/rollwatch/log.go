package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	logFormatConsole = "console"
	logFormatJSON    = "json"
	logLevelEnv      = "LOG_LEVEL"
)

// logFlags say how the daemon logs.
type logFlags struct {
	level  *choice
	format *choice
}

func addLogFlags(cmd *cobra.Command) logFlags {
	flags := logFlags{
		level:  &choice{allowed: []string{"debug", "info", "warn", "error"}},
		format: &choice{value: logFormatConsole, allowed: []string{logFormatConsole, logFormatJSON}},
	}
	cmd.Flags().Var(flags.level, "log.level", "least level that is logged (default $"+logLevelEnv+" or info)")
	cmd.Flags().Var(flags.format, "log.format", "form of the log, which goes to stderr")
	return flags
}

// newLog makes the log. LOG_LEVEL is the whole stack's variable: a level that
// only another program knows (verbose, trace) is no reason to refuse to start.
func newLog(flags logFlags, w io.Writer) *zap.Logger {
	text := cmp.Or(flags.level.value, strings.ToLower(os.Getenv(logLevelEnv)))
	level, err := zapcore.ParseLevel(text)
	if err != nil || level > zapcore.ErrorLevel {
		level = zapcore.InfoLevel
	}
	core := zapcore.NewCore(newEncoder(flags.format.value), zapcore.Lock(zapcore.AddSync(w)), level)
	log := zap.New(core)
	if err != nil {
		log.Warn(fmt.Sprintf("$%s is %q, which is no level here; info is used", logLevelEnv, text))
	}
	return log
}

func newEncoder(format string) zapcore.Encoder {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.TimeEncoderOfLayout(time.RFC3339)
	config.EncodeDuration = zapcore.StringDurationEncoder
	config.TimeKey, config.MessageKey = "time", "message"
	if format == logFormatJSON {
		return zapcore.NewJSONEncoder(config)
	}
	config.ConsoleSeparator = "  "
	return zapcore.NewConsoleEncoder(config)
}
