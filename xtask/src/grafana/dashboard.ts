// What a dashboard of ours may hold, by Grafana's own types: each panel by those of its plugin, each target by what a Prometheus target
// has. The dashboard is put behind this as a value of the type `Ours`.
import type { Dashboard, FieldConfigSource, Panel } from "@grafana/schema";
// The package exports no path to these.
import type * as stat from "./node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type * as timeseries from "./node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

// A value of an enumeration stands in a file as a plain text.
type Plain<T> = T extends string
  ? `${T}`
  : T extends readonly (infer U)[]
    ? Plain<U>[]
    : T extends object
      ? { [K in keyof T]: Plain<T[K]> }
      : T;
// The same where a plugin fills in what was left out.
type Given<T> = T extends string
  ? `${T}`
  : T extends readonly (infer U)[]
    ? Given<U>[]
    : T extends object
      ? { [K in keyof T]?: Given<T[K]> }
      : T;

interface Target {
  refId: string;
  expr: string;
  datasource: { type: "prometheus"; uid: string };
  legendFormat?: string;
  instant?: boolean;
  range?: boolean;
}

type Fields<Custom> = Plain<Omit<FieldConfigSource, "defaults">> & {
  defaults: Plain<Omit<FieldConfigSource["defaults"], "custom">> & { custom?: Given<Custom> };
};

type PanelOf<Type extends string, Options, Custom> = Plain<
  Omit<Panel, "type" | "title" | "options" | "fieldConfig" | "targets">
> & {
  type: Type;
  title: string;
  options: Given<Options>;
  fieldConfig: Fields<Custom>;
  targets: [Target, ...Target[]];
};

type OurPanel =
  | PanelOf<"stat", stat.Options, Record<string, never>>
  | PanelOf<"timeseries", timeseries.Options, timeseries.FieldConfig>;

type Ours = Plain<Omit<Dashboard, "panels">> & { panels: OurPanel[] };

