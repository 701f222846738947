package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
)

func versionCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{"version": granary.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return env.print(cmd.OutOrStdout(), v, func(t *tableWriter) {
				t.row("granary " + v["version"] + " (" + v["go"] + ", " + v["platform"] + ")")
			})
		},
	}
	env.outputFlag(cmd)
	return cmd
}
