"""All services of one installation, wired together once."""

from __future__ import annotations

from dataclasses import dataclass

import core.speed
from core.config import DatasetSection
from core.move import read_move
from core.settings import Settings
from services.datasets.datasets import Datasets
from services.datasets.incoming import DatasetJobs
from services.datasets.library import Library, used_by
from services.datasets.preparation_jobs import Preparations
from services.evaluations.evaluations import Evaluations
from services.exports.deliveries import Deliveries
from services.exports.exports import Exports
from services.jobs.database import Database
from services.jobs.events import Events
from services.jobs.launcher import LOCAL, Launcher, LocalLauncher
from services.jobs.watcher import Watcher
from services.machine.hub_reach import HubReach
from services.machine.preferences import PreferenceStore
from services.machine.system import System
from services.machine.webhook import Webhook
from services.models.downloads import Downloads
from services.models.endpoint import Endpoint
from services.models.model_hub import ModelHub
from services.models.models import Models
from services.probes.probes import Probes
from services.rewards.bench import Bench
from services.rewards.rewards import Rewards
from services.rewards.saved import SavedRewards
from services.runs.preflight import Preflight
from services.runs.runs import Runs
from services.runs.score_files import ScoreFiles
from services.runs.speed_test import SpeedTest
from services.runs.speeds import Speeds
from services.storage.cleanup import Cleanup
from services.storage.folders import Folders
from services.storage.trash import Trash
from services.storage.usage import Storage
from services.wizard.configs import Configs
from services.wizard.dataset_choice import DatasetChoice
from services.wizard.drafts import Drafts
from services.wizard.rows import DraftRows
from services.wizard.snapshot import Snapshots
from services.wizard.wizard import Wizard


@dataclass
class Services:
    """The services that handlers call, independent of requests."""

    settings: Settings
    preferences: PreferenceStore
    trash: Trash
    webhook: Webhook
    storage: Storage
    cleanup: Cleanup
    folders: Folders
    events: Events
    database: Database
    watcher: Watcher
    system: System
    speed_test: SpeedTest
    models: Models
    model_hub: ModelHub
    downloads: Downloads
    endpoint: Endpoint
    runs: Runs
    score_files: ScoreFiles
    exports: Exports
    deliveries: Deliveries
    probes: Probes
    evaluations: Evaluations
    datasets: Datasets
    dataset_jobs: DatasetJobs
    library: Library
    preparations: Preparations
    rewards: Rewards
    saved_rewards: SavedRewards
    bench: Bench
    preflight: Preflight
    configs: Configs
    wizard: Wizard
    snapshots: Snapshots
    draft_rows: DraftRows
    drafts: Drafts

    def close(self) -> None:
        """End threads and chat processes. Workers continue."""
        self.trash.close()
        self.webhook.close()
        self.speed_test.close()
        self.watcher.close()
        self.score_files.close()
        self.models.close()
        self.model_hub.close()
        self.database.close()


def build(settings: Settings, launcher: Launcher | None = None) -> Services:
    """Wire the services. Starts no thread and no process.

    Args:
        settings: This installation's settings.
        launcher: Starts workers; by default on this machine.
    """
    settings.home.make()
    home, events, database = settings.home, Events(), Database(settings.database_url)
    preferences = PreferenceStore(home)
    webhook = Webhook(preferences, settings.port, database.set_setting, database.setting)
    events.listen(webhook.heard)
    reach = HubReach()
    system = System(home, database.active_count)
    models = Models(settings, database, system)
    speed_test = SpeedTest(settings, system.device, lambda: bool(database.unfinished() or read_move(home)))

    def free_device() -> None:
        speed_test.stop()
        models.free_device()

    folders = Folders(home, free_device)
    watcher = Watcher(home, database, events, {LOCAL: launcher or LocalLauncher(settings)}, free_device, folders.held)
    configs, library = Configs(home), Library(home, database)

    limit = int(settings.max_upload_gb * 1024**3)
    datasets = Datasets(home, limit, used_by(database))

    def check_dataset(dataset: DatasetSection) -> None:
        if dataset.source.startswith("upload:"):
            datasets.info(dataset.source.removeprefix("upload:"))

    runs = Runs(
        home,
        database,
        events,
        watcher=watcher,
        machine=system,
        models=models,
        check_dataset=check_dataset,
    )
    score_files, bench = ScoreFiles(home), Bench(home, models)
    exports = Exports(home, database, events, wake=watcher.wake)
    probes = Probes(home, database, events, check_model=models.validate, check_dataset=check_dataset, wake=watcher.wake)
    preflight = Preflight(home, system, bench, library, reach)
    preparations = Preparations(library)
    dataset_jobs, downloads, storage = DatasetJobs(home, limit), Downloads(settings), Storage(home, database)

    wizard = Wizard(database, system.on_gpu, home, library, lambda: preferences.get().base_model)
    draft_rows = DraftRows(home, datasets)
    speeds = Speeds(database, system.device, preflight.parameters, lambda: core.speed.read(home))
    snapshots = Snapshots(home, wizard, models, datasets, preflight, probes, runs, speeds)
    chosen = DatasetChoice(wizard, draft_rows, library, preparations)
    drafts = Drafts(wizard, snapshots, draft_rows, chosen, library, configs, runs, probes, preflight)
    deliveries = Deliveries(settings, exports, events)
    folders.under_way = lambda: _under_way(
        database, watcher, dataset_jobs, downloads, preparations, deliveries, score_files
    )
    return Services(
        settings=settings,
        preferences=preferences,
        webhook=webhook,
        storage=storage,
        folders=folders,
        cleanup=Cleanup(home, database, lambda: _fetching(dataset_jobs, downloads), storage.measure),
        trash=Trash(home, database, events, preferences.trash_days),
        events=events,
        database=database,
        watcher=watcher,
        system=system,
        speed_test=speed_test,
        models=models,
        model_hub=ModelHub(settings, reach),
        downloads=downloads,
        endpoint=Endpoint(home.endpoint, models),
        runs=runs,
        score_files=score_files,
        probes=probes,
        evaluations=Evaluations(home, database, events, models=models, check_dataset=check_dataset, wake=watcher.wake),
        exports=exports,
        deliveries=deliveries,
        datasets=datasets,
        dataset_jobs=dataset_jobs,
        library=library,
        preparations=preparations,
        rewards=Rewards(),
        saved_rewards=SavedRewards(home),
        bench=bench,
        preflight=preflight,
        configs=configs,
        wizard=wizard,
        snapshots=snapshots,
        draft_rows=draft_rows,
        drafts=drafts,
    )


def _fetching(jobs: DatasetJobs, downloads: Downloads) -> bool:
    states = [*(job.state for job in jobs.all()), *(download.state for download in downloads.all())]
    return "working" in states


def _under_way(
    database: Database,
    watcher: Watcher,
    jobs: DatasetJobs,
    downloads: Downloads,
    preparations: Preparations,
    deliveries: Deliveries,
    score_files: ScoreFiles,
) -> str:
    """What writes into the folders and must end before one is moved, in words; '' for nothing."""
    if job := next(iter(database.unfinished()), None):
        return f"The {job.of_kind.word} '{job.name}' is running or waiting."
    found = (
        (watcher.busy, "A job has just ended, and its process is still there."),
        (any(job.state in {"working", "receiving"} for job in jobs.all()), "A dataset is being uploaded or imported."),
        (any(download.state == "working" for download in downloads.all()), "A model is being downloaded."),
        (preparations.busy, "A dataset is being prepared."),
        (deliveries.busy, "An export is being sent."),
        (score_files.busy, "A reward model is scoring a file."),
    )
    return next((words for so, words in found if so), "")
